"""State from which an interrupted training continues, the same for both frameworks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.training.epoch import Epoch

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class LearnerState:
    """Weights, optimizer and random generators of a framework: arrays by name, and JSON-ready values."""

    arrays: Arrays
    values: dict[str, Any]


@dataclass(frozen=True)
class TrainingState:
    """A training after the last epoch of `history`.

    `random` is the state of NumPy's generator. `best_weights` are those of the best epoch, or None if not kept.
    """

    history: list[Epoch]
    learner: LearnerState
    random: dict[str, Any]
    best_weights: Arrays | None


def _ignore(_: Callable[[], TrainingState]) -> None:
    """Store nothing."""


@dataclass(frozen=True)
class Recovery:
    """`state` is that of an interrupted training; `store` is called after each epoch, with a copying function."""

    state: TrainingState | None = None
    store: Callable[[Callable[[], TrainingState]], None] = _ignore


NO_RECOVERY = Recovery()
