"""The epochs of a training, the same for both frameworks; one step is computed by the framework."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile

import numpy as np

from models.config import Train
from models.errors import InputError
from models.interfaces import Learner, OnEpoch, OnStep, Totals
from models.training.augment import Draw
from models.training.batches import (
    Batch,
    TrainingData,
    batch_count,
    changed,
    grouped,
    in_order,
    prefetched,
    rows_in_order,
    shuffled,
)
from models.training.epoch import Epoch, Progress, best_epoch
from models.training.recovery import NO_RECOVERY, Arrays, Recovery, TrainingState
from models.training.schedule import learning_rate
from models.training.workers import ALONE, Workers

SHOW_EVERY = 0.2  # seconds: to read the totals, the host waits for the device
# In a row: the loss is then multiplied by less than 2^-80, so it is not the scale that makes the gradients overflow.
MAX_SKIPPED_STEPS = 100


class NotFiniteError(InputError):
    """The loss became NaN or infinite, or the gradients of too many steps overflowed."""


def run(
    learner: Learner,
    data: TrainingData,
    config: Train,
    on_epoch: OnEpoch,
    on_step: OnStep,
    recovery: Recovery = NO_RECOVERY,
    workers: Workers = ALONE,
) -> list[Epoch]:
    """Train for all epochs, or until `config.patience` of them brought no lower validation loss.

    With `config.keep` = best the weights of the best epoch are restored. An interrupted training continues from its
    state. Raises NotFiniteError.
    """
    epochs, random = config.epochs_for(len(data.train)), np.random.default_rng(config.seed)
    steps = batch_count(data.train, config.batch_size)
    history, best_weights = _restore(recovery.state, learner, random)
    training = _Training(learner, data, config, epochs, random, on_step, workers, is_kept=learner.keep(data))
    while len(history) < epochs and not _is_out_of_patience(history, config):
        history.append(training.epoch(len(history) + 1))
        on_epoch(history[-1], learner)
        _require_finite(history[-1], config)
        if _skipped_steps(history, steps) > MAX_SKIPPED_STEPS:
            raise _overflow(history, steps)
        if config.keep == "best" and best_epoch(history) is history[-1]:
            best_weights = learner.get_weights()
        recovery.store(partial(_state, history, learner, random, best_weights))
    if _skipped_steps(history, steps) == steps * len(history):
        raise _overflow(history, steps)
    if best_weights is not None:
        learner.set_weights(best_weights)
    return history


def _restore(
    state: TrainingState | None, learner: Learner, random: np.random.Generator
) -> tuple[list[Epoch], Arrays | None]:
    """Restore the state of an interrupted training; its history and best weights."""
    if state is None:
        return [], None
    learner.restore(state.learner)
    random.bit_generator.state = state.random
    return list(state.history), state.best_weights


def _state(
    history: list[Epoch], learner: Learner, random: np.random.Generator, best_weights: Arrays | None
) -> TrainingState:
    return TrainingState(history, learner.state(), dict(random.bit_generator.state), best_weights)


def _is_out_of_patience(history: list[Epoch], config: Train) -> bool:
    return config.patience is not None and bool(history) and len(history) - best_epoch(history).epoch >= config.patience


@dataclass(frozen=True)
class _Training:
    learner: Learner
    data: TrainingData
    config: Train
    epochs: int
    random: np.random.Generator
    on_step: OnStep
    workers: Workers
    is_kept: bool

    def epoch(self, number: int) -> Epoch:
        start = time.perf_counter()
        self.learner.clear_totals()
        rate = self._train(number)
        train = self.learner.read_totals()
        seconds = time.perf_counter() - start
        validation, metric = self._validate(), self.data.metric
        skipped = int(train.skipped_steps) if self.learner.scales_loss else None
        return Epoch(
            epoch=number,
            train_loss=train.loss / train.weight,
            validation_loss=validation.loss / validation.weight,
            learning_rate=rate,
            examples_per_second=train.examples / seconds,
            gradient_norm=train.gradient_norm / train.examples,
            skipped_steps=skipped,
            **{f"train_{metric}": self._mean_metric(train), f"validation_{metric}": self._mean_metric(validation)},
        )

    def _mean_metric(self, totals: Totals) -> float:
        """The mean of the metric, in the target's unit."""
        return totals.metric / totals.examples * self.data.spec.target_std

    def _train(self, number: int) -> float:
        """One pass over the training split; the last learning rate."""
        config, train = self.config, self.data.train
        count, rates, shown = batch_count(train, config.batch_size), [0.0], time.perf_counter()
        done = (number - 1) * count
        for group in self._groups():
            steps = range(done, done := done + len(group))
            rates = [learning_rate(step, self.epochs * count, config.learning_rate, config.schedule) for step in steps]
            self.learner.train_batches(group, rates)
            if time.perf_counter() - shown > SHOW_EVERY:
                self._show(number)
                shown = time.perf_counter()
        return rates[-1]

    def _groups(self) -> Iterator[list[Batch]] | Iterator[list[Draw]]:
        config, train = self.config, self.data.train
        draws = shuffled(train, config.batch_size, config.augment, self.random)
        if self.is_kept:
            return prefetched(grouped(draws))
        return prefetched(grouped(changed(train, drawn, config.augment, self.data.spec.outputs) for drawn in draws))

    def _show(self, number: int) -> None:
        totals = self.learner.read_totals()
        means = totals.loss / totals.weight, self.data.metric, self._mean_metric(totals)
        self.on_step(Progress(number, int(totals.examples), len(self.data.train), *means))

    def _validate(self) -> Totals:
        """One pass over the validation split; each worker takes some of the batches."""
        self.learner.clear_totals()
        split, size = self.data.validation, self.config.batch_size
        batches: Iterator[Batch | Draw] = rows_in_order(split, size) if self.is_kept else in_order(split, size)
        for batch in islice(batches, self.workers.rank, None, self.workers.size):
            self.learner.validate_batch(batch)
        return Totals(*self.workers.sum(np.array(self.learner.read_totals())).tolist())


def _require_finite(epoch: Epoch, config: Train) -> None:
    for name in ("train_loss", "validation_loss", "gradient_norm"):
        value = getattr(epoch, name)
        if not math.isfinite(value):
            clip = config.gradient_clip
            raise NotFiniteError(
                f"{name} is {value} in epoch {epoch.epoch}; lower train.learning_rate = {config.learning_rate:g} or "
                + (f"train.gradient_clip = {clip:g}" if clip else "set train.gradient_clip")
            )


def _skipped_steps(history: list[Epoch], steps: int) -> int:
    """The number of steps since the last epoch, of so many `steps`, in which one was taken."""
    return steps * sum(1 for _ in takewhile(lambda epoch: epoch.skipped_steps == steps, reversed(history)))


def _overflow(history: list[Epoch], steps: int) -> NotFiniteError:
    return NotFiniteError(
        "in float16 the last steps were not taken, as their gradients overflowed (number of steps: "
        f"{_skipped_steps(history, steps)}); set train.precision = 'float32'"
    )
