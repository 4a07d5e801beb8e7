"""Fashion-MNIST for the training benchmark."""

from dataclasses import dataclass

import numpy as np

from models.spec import DataSpec
from pipelines.artifacts.raw_data import RawData
from pipelines.config import params
from pipelines.sources import fashion_mnist


@dataclass(frozen=True)
class Fashion:
    """60,000 training and 10,000 test images, uint8 [N,28,28,1], and their classes, int64 [N]."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    spec: DataSpec

    def first(self, count: int) -> "Fashion":
        """The first `examples` of both splits."""
        images, labels, test_images, test_labels = (
            array[:count] for array in (self.images, self.labels, self.test_images, self.test_labels)
        )
        return Fashion(images, labels, test_images, test_labels, self.spec)

    def accuracy(self, outputs_NK: np.ndarray) -> float:
        """The share of test images whose highest output is that of their class."""
        return float((outputs_NK.argmax(1) == self.test_labels).mean())


def read() -> Fashion:
    """The published files. Raises InputError if they are neither installed nor downloadable."""
    source = params.read().data.model_copy(update={"source": "fashion_mnist"})
    raw = fashion_mnist.load(source)
    if raw.test_inputs is None or raw.test_targets is None:
        raise RuntimeError("Fashion-MNIST has an official test split")
    return Fashion(raw.train_inputs, raw.train_targets, raw.test_inputs, raw.test_targets, specification(raw))


def specification(raw: RawData) -> DataSpec:
    """That of greyscale images, with the statistics of the training images."""
    pixels = raw.train_inputs.astype(np.float64)
    return DataSpec(
        raw.name, "classification", "image", raw.train_inputs.shape[1:], "uint8", raw.labels, raw.target, (),
        (float(pixels.mean()),), (float(pixels.std()),),
    )  # fmt: skip
