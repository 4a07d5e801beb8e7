"""What every source gives: labelled images in memory, before any split or check of ours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RawData:
    """Images uint8 [N, H, W, C] and class numbers int64 [N], counted from 0 in the order of `labels`.

    `test_inputs` and `test_targets` are the source's official test split, None where it has none.
    `origin` says where the examples were found, for a person to read.
    """

    name: str
    labels: tuple[str, ...]
    train_inputs: NDArray[np.uint8]  # [N, H, W, C]
    train_targets: NDArray[np.int64]  # [N]
    test_inputs: NDArray[np.uint8] | None  # [M, H, W, C]
    test_targets: NDArray[np.int64] | None  # [M]
    origin: str

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that are there, by the name of their field."""
        names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
