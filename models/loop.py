"""The epochs of a training, the same for both frameworks; the maths of one step is the framework's."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from models.batches import Batch, Data, Measure, in_order, prefetched, shuffled, steps
from models.config import Train
from models.errors import InputError
from models.schedule import learning_rate
from models.snapshot import Snapshot

SHOW_EVERY = 0.2  # seconds: to read the totals, the host waits for the device


class Totals(NamedTuple):
    """Sums over the examples seen: loss and what each counts in it, right classes or absolute errors, gradient norm,
    and their number."""

    loss: float
    weight: float
    measure: float
    gradient_norm: float
    examples: float


class Learner(Protocol):
    """One framework's model, optimizer and device behind a few verbs."""

    def train_batch(self, batch: Batch, rate: float) -> None:
        """One optimizer step at this learning rate; adds to the totals, without waiting for the device."""

    def validate_batch(self, batch: Batch) -> None:
        """Add loss and measure of a batch, in float32 and in inference mode."""

    def read_totals(self) -> Totals:
        """The totals since they were last cleared; this waits for the device."""

    def clear_totals(self) -> None:
        """Start to add up anew."""

    def get_weights(self) -> Any:
        """A copy of all weights and statistics."""

    def set_weights(self, weights: Any) -> None:
        """Put a copy back."""

    def look(self, batch: Batch) -> Snapshot:
        """What is inside the model, seen with a batch, in float32 and in inference mode; this changes nothing."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Logits float32 [N,K] of raw inputs [N, *shape] in inference mode."""


@dataclass(frozen=True)
class Epoch:
    """One line of the training history. Losses are means over examples, weighted as in training.

    A classification has accuracies; a regression has mean absolute errors, in the target's unit.
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

    def values(self) -> dict[str, float]:
        """What there is, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Progress:
    """Where a training is within an epoch: after `examples` of `total`, with their mean loss and measure."""

    epoch: int
    examples: int
    total: int
    loss: float
    measure: Measure
    value: float


class NotFiniteError(InputError):
    """The loss became NaN or infinite."""


def run(
    learner: Learner,
    data: Data,
    config: Train,
    on_epoch: Callable[[Epoch, Learner], None],
    on_step: Callable[[Progress], None],
) -> list[Epoch]:
    """Train for all epochs, or until `config.patience` of them brought no lower validation loss.

    With patience the weights of the best epoch are restored. Raises NotFiniteError with the epoch.
    """
    epochs = config.epochs_for(len(data.train))
    training = _Training(learner, data, config, epochs, np.random.default_rng(config.seed), on_step)
    history: list[Epoch] = []
    best_weights = None
    for number in range(1, epochs + 1):
        history.append(training.epoch(number))
        on_epoch(history[-1], learner)
        _require_finite(history[-1], config)
        if config.patience is None:
            continue
        best = best_epoch(history)
        if best.epoch == number:
            best_weights = learner.get_weights()
        elif number - best.epoch >= config.patience:
            break
    if best_weights is not None:
        learner.set_weights(best_weights)
    return history


def best_epoch(history: list[Epoch]) -> Epoch:
    """The first epoch with the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.validation_loss)


@dataclass(frozen=True)
class _Training:
    learner: Learner
    data: Data
    config: Train
    epochs: int
    random: np.random.Generator
    on_step: Callable[[Progress], None]

    def epoch(self, number: int) -> Epoch:
        start = time.perf_counter()
        self.learner.clear_totals()
        rate = self._train(number)
        train = self.learner.read_totals()
        seconds = time.perf_counter() - start
        validation, measure = self._validate(), self.data.measure
        return Epoch(
            epoch=number,
            train_loss=train.loss / train.weight,
            validation_loss=validation.loss / validation.weight,
            learning_rate=rate,
            examples_per_second=train.examples / seconds,
            gradient_norm=train.gradient_norm / train.examples,
            **{f"train_{measure}": self._measured(train), f"validation_{measure}": self._measured(validation)},
        )

    def _measured(self, totals: Totals) -> float:
        """The mean measure, in the target's unit."""
        return totals.measure / totals.examples * self.data.unit

    def _train(self, number: int) -> float:
        """One pass over the training split; the last learning rate."""
        config, train = self.config, self.data.train
        count, rate, shown = steps(train, config.batch_size), 0.0, time.perf_counter()
        batches = shuffled(train, config.batch_size, config.augment, self.data.outputs, self.random)
        for step, batch in enumerate(prefetched(batches)):
            done = (number - 1) * count + step
            rate = learning_rate(done, self.epochs * count, config.learning_rate, config.schedule)
            self.learner.train_batch(batch, rate)
            if time.perf_counter() - shown > SHOW_EVERY:
                self._show(number)
                shown = time.perf_counter()
        return rate

    def _show(self, number: int) -> None:
        totals = self.learner.read_totals()
        told = totals.loss / totals.weight, self.data.measure, self._measured(totals)
        self.on_step(Progress(number, int(totals.examples), len(self.data.train), *told))

    def _validate(self) -> Totals:
        self.learner.clear_totals()
        for batch in in_order(self.data.validation, self.config.batch_size):
            self.learner.validate_batch(batch)
        return self.learner.read_totals()


def _require_finite(epoch: Epoch, config: Train) -> None:
    for name in ("train_loss", "validation_loss", "gradient_norm"):
        value = getattr(epoch, name)
        if not math.isfinite(value):
            raise NotFiniteError(
                f"{name} is {value} in epoch {epoch.epoch}; lower train.learning_rate = {config.learning_rate:g} "
                "or set train.gradient_clip"
            )
