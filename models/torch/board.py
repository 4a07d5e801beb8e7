"""Event files for TensorBoard, written by torch. The tags are those of `models.keras.board`."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

from models.constants import HISTOGRAM_BUCKETS


class EventWriter:
    """The event file of one training, in its own folder."""

    def __init__(self, folder: Path) -> None:
        if "tensorflow" not in sys.modules:
            # With this TensorBoard's writer does without it; else it would import it where it is installed.
            sys.modules["tensorboard.compat.notf"] = ModuleType("tensorboard.compat.notf")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def histograms(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Add a histogram of each array, whose values are finite."""
        for tag, array in arrays.items():
            self.writer.add_histogram(tag, array, step, HISTOGRAM_BUCKETS)

    def image(self, tag: str, image_HWC: np.ndarray, step: int) -> None:
        """Add an image, uint8 with 1 or 3 channels."""
        self.writer.add_image(tag, image_HWC, step, dataformats="HWC")

    def graph(self, model: nn.Module, example: np.ndarray) -> None:
        """Add the graph of the model, traced with raw inputs [N, *shape]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own writer uses what torch advises against
            self.writer.add_graph(model.eval(), torch.from_numpy(example))

    def close(self) -> None:
        """Write pending events and close the file."""
        self.writer.close()
