"""Batches of examples that are kept on the device. The changes are those of `models.training.augment`."""

import numpy as np
import torch
from torch.nn import functional

from models.config import Augment
from models.memory_map import batches
from models.training.batches import Split

PART = 4096  # examples that are copied at a time
Tensors = dict[str, torch.Tensor]


class Resident:
    """The examples of a split on a device."""

    def __init__(self, split: Split, config: Augment, outputs: int, device: str) -> None:
        self.inputs, self.targets = _copied(split.inputs, device), _copied(split.targets, device)
        self.limit = config.shift
        self.outputs = outputs

    def batch(self, drawn: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets by the arrays of a `Draw` on the same device."""
        inputs, targets = self.inputs[drawn["rows"]], self.targets[drawn["rows"]]
        if "flipped" in drawn:
            inputs = torch.where(drawn["flipped"][:, None, None, None], inputs.flip(2), inputs)
        if "corners" in drawn:
            inputs = self._shift(inputs, drawn["corners"])
        return (
            self._blend(inputs, targets, drawn["share"], drawn["partners"]) if "share" in drawn else (inputs, targets)
        )

    def _shift(self, images_NHWC: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
        count, height, width, _ = images_NHWC.shape
        padded = functional.pad(images_NHWC, (0, 0, self.limit, self.limit, self.limit, self.limit))
        top_N, left_N = corners
        numbers_N, rows_H, columns_W = (torch.arange(size, device=padded.device) for size in (count, height, width))
        return padded[
            numbers_N[:, None, None], (top_N[:, None] + rows_H)[:, :, None], (left_N[:, None] + columns_W)[:, None]
        ]

    def _blend(
        self, inputs: torch.Tensor, targets: torch.Tensor, share: torch.Tensor, partners: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.outputs > 1:
            targets = functional.one_hot(targets, self.outputs).to(torch.float32)
        blended = share * inputs + (1 - share) * inputs[partners]
        blended = blended.round() if inputs.dtype == torch.uint8 else blended
        return blended.to(inputs.dtype), share * targets + (1 - share) * targets[partners]


def _copied(array: np.ndarray, device: str) -> torch.Tensor:
    """A copy [N, ...] on the device, in parts: host memory need not hold the whole array, which is a mapped file."""
    tensor = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    for target, part in zip(torch.split(tensor, PART), batches(array, PART), strict=True):
        target.copy_(torch.from_numpy(np.array(part)))  # torch warns of read-only arrays
    return tensor
