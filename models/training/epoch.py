"""The record of one epoch of a training, the same for both frameworks."""

from dataclasses import asdict, dataclass

from models.config import Train
from models.spec import Metric


@dataclass(frozen=True)
class Epoch:
    """One line of the training history. Losses are means over examples, weighted as in training.

    A classification has accuracies; a regression has mean absolute errors, in the target's unit. In float16
    `skipped_steps` are those that were not taken, as gradients overflowed.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    examples_per_second: float
    gradient_norm: float
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    train_mae: float | None = None
    validation_mae: float | None = None
    skipped_steps: int | None = None

    def values(self) -> dict[str, float]:
        """The fields that are not None, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Progress:
    """Progress of a training within an epoch: after `examples` of `total`, with their mean loss and metric."""

    epoch: int
    examples: int
    total: int
    loss: float
    metric: Metric
    value: float


def best_epoch(history: list[Epoch]) -> Epoch:
    """The first epoch with the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.validation_loss)


def stored_epoch(history: list[Epoch], config: Train) -> Epoch:
    """The epoch whose weights a training stores."""
    return best_epoch(history) if config.keep == "best" else history[-1]
