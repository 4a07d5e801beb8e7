"""Event files for TensorBoard, written by TensorFlow. The tags are those of `models.torch.board`."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram.metadata import create_summary_metadata

from models.constants import HISTOGRAM_BUCKETS


class EventWriter:
    """The event file of one training, in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        with self.writer.as_default(step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def histograms(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Add a histogram of each array, whose values are finite.

        NumPy counts, as in torch: TensorFlow's own counting was measured to take ten times as long.
        """
        with self.writer.as_default(step):
            for tag, array in arrays.items():
                counts, edges = np.histogram(array, HISTOGRAM_BUCKETS)
                rows = np.stack([edges[:-1], edges[1:], counts], axis=1)  # [HISTOGRAM_BUCKETS, left right count]
                tf.summary.write(tag, tf.constant(rows, tf.float64), metadata=create_summary_metadata(tag, None))

    def image(self, tag: str, image_HWC: np.ndarray, step: int) -> None:
        """Add an image, uint8 with 1 or 3 channels."""
        with self.writer.as_default(step):
            tf.summary.image(tag, image_HWC[None])

    def graph(self, model: keras.Model, example: np.ndarray) -> None:
        """Add the graph of the model, traced with raw inputs [N, *shape]."""
        traced = tf.function(lambda inputs: model(inputs, training=False)).get_concrete_function(tf.constant(example))
        with self.writer.as_default(0):
            tf.summary.graph(traced.graph)

    def close(self) -> None:
        """Write pending events and close the file."""
        self.writer.close()
