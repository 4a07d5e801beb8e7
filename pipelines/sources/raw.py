"""What every source gives: images or a table with their targets, before any split or check of ours."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """What the columns of a table are, in their order.

    `categories` are the names behind the numbers 0, 1, ... in a categorical column, empty for a column
    of numbers. `missing` says whether a value may be missing, which is NaN.
    """

    features: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    missing: bool


@dataclass(frozen=True)
class RawData:
    """Images uint8 [N, H, W, C], or with a `table` float32 [N, F]; and their targets [N], called `target`.

    Targets are class numbers int64, counted from 0 in the order of `labels`; without labels it is a
    regression and they are float32. The arrays may be memory maps. `test_inputs` and `test_targets`
    are the source's official test split, None where it has none. `origin` says where the examples
    were found, for a person to read, `unreadable` which files were left out and why, `notes` what is odd
    about columns that the arrays do not show.
    """

    name: str
    labels: tuple[str, ...]
    train_inputs: NDArray[Any]  # [N, H, W, C] or [N, F]
    train_targets: NDArray[Any]  # [N]
    test_inputs: NDArray[Any] | None  # [M, H, W, C] or [M, F]
    test_targets: NDArray[Any] | None  # [M]
    origin: str
    target: str = "label"
    table: Table | None = None
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that are there, by the name of their field."""
        names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
