"""Training in torch: one step; the epochs are those of `models.training.loop`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from models.config import WITHOUT_LOSS_SCALE, Train
from models.constants import LOSS_SCALE, LOSS_SCALE_STEPS
from models.interfaces import OnEpoch, OnStep, Totals
from models.torch import device as devices
from models.torch import optimizers
from models.torch.losses import loss, total_weight
from models.torch.resident import Resident
from models.torch.snapshot import snapshot
from models.torch.state import get_state, set_state
from models.torch.store import get_weights, set_weights
from models.torch.workers import ConnectedWorkers, whole_batch
from models.training import loop, precision, resident
from models.training.augment import Draw
from models.training.batches import Batch, TrainingData
from models.training.class_weights import class_weights
from models.training.device import Device, Precision
from models.training.epoch import Epoch
from models.training.recovery import NO_RECOVERY, LearnerState, Recovery
from models.training.snapshot import Snapshot
from models.training.workers import ALONE, Workers

# Numbers in a batch. Measured on 2 cores with all architectures: below it one thread is up to 1.6 times as fast as two
# (8x8 images, batch 32), above it two are with convolutions (1.4 times at 28x28 and batch 128).
SMALL_BATCH = 1 << 14
# The annotations of `Module.to` lack its keyword `memory_format`.
CONTIGUOUS: dict[str, Any] = {"memory_format": torch.contiguous_format}
CHANNELS_LAST: dict[str, Any] = {"memory_format": torch.channels_last}


def fit(
    model: nn.Module,
    data: TrainingData,
    config: Train,
    device: Device,
    on_epoch: OnEpoch,
    on_step: OnStep,
    recovery: Recovery = NO_RECOVERY,
    workers: Workers = ALONE,
) -> list[Epoch]:
    """Train the model in place; its history, an entry an epoch. The model is on the CPU afterwards.

    An interrupted training continues from its state. Raises NotFiniteError where the loss is no longer a number, and
    LostWorkerError where another of several workers has ended.
    """
    with _threads_for(data, config, workers):
        learner = Learner(model, config, device, class_weights(config, data.train, data.spec.outputs), workers)
        history = loop.run(learner, data, config, on_epoch, on_step, recovery, workers)
    model.cpu().to(**CONTIGUOUS).eval()
    return history


def step_seconds(
    build: Callable[[], nn.Module], data: TrainingData, config: Train, device: Device
) -> Mapping[Precision, float]:
    """The duration of a training step of new models in each precision."""
    weights = class_weights(config, data.train, data.spec.outputs)
    with _threads_for(data, config):
        learners = {name: Learner(build(), config, own, weights) for name, own in precision.devices(device).items()}
        return precision.step_seconds(learners, data, config)


@contextmanager
def _threads_for(data: TrainingData, config: Train, workers: Workers = ALONE) -> Iterator[None]:
    """One thread for small batches, for which several threads cost more time than they save."""
    numbers = config.batch_size // workers.size * math.prod(data.train.inputs.shape[1:])
    before = torch.get_num_threads()
    torch.set_num_threads(1 if numbers <= SMALL_BATCH else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Learner:
    """A torch model, its optimizer and its device, in one of the `workers`."""

    def __init__(
        self, model: nn.Module, config: Train, device: Device, weights: np.ndarray, workers: Workers = ALONE
    ) -> None:
        # Convolutions are fastest where the channels lie next to each other.
        self.model = model.to(device.kind).to(**CHANNELS_LAST)
        self.config = config
        self.device = device
        self.workers = workers
        self.parameters = list(self.model.parameters())
        self.optimizer = optimizers.build(model, config)
        self.scales_loss = device.precision == "float16"
        self.scaler = GradScaler(device.kind, LOSS_SCALE, growth_interval=LOSS_SCALE_STEPS, enabled=self.scales_loss)
        self.weights = torch.from_numpy(weights).to(device.kind)
        self.totals = torch.zeros(len(Totals._fields), dtype=torch.float64, device=device.kind)

    def keep(self, data: TrainingData) -> bool:
        """Keep the examples on a GPU, if they fit."""
        if not resident.fits(data, devices.free_memory(self.device), self.workers):
            return False
        self.train, self.validation = (
            Resident(split, self.config.augment, data.spec.outputs, self.device.kind)
            for split in (data.train, data.validation)
        )
        return True

    def train_batches(self, batches: Sequence[Batch | Draw], rates: Sequence[float]) -> None:
        """A step of the optimizer for each batch."""
        self.model.train()
        for batch, rate in zip(batches, rates, strict=True):
            self._train_batch(batch, rate)

    def _train_batch(self, batch: Batch | Draw, rate: float) -> None:
        total = batch.size
        inputs, targets = self._part(batch)
        evaluations = []

        def closure() -> float:
            evaluations.append(self._backward(inputs, targets, total))
            return evaluations[-1][0]  # type: ignore[return-value]  # torch's type is narrower than what it takes

        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.optimizer in WITHOUT_LOSS_SCALE:
            self.optimizer.step(closure)
        else:
            closure()
            self.scaler.step(self.optimizer)  # not where scaled gradients have overflowed
            self.scaler.update()
        _, sums, norm = evaluations[0]
        self._add(sums, norm)

    def _part(self, batch: Batch | Draw) -> tuple[torch.Tensor, torch.Tensor]:
        """The inputs and targets of this worker, on the device."""
        if isinstance(batch, Draw):
            inputs, targets = self.train.batch(self._drawn(batch))
            return self.workers.part(inputs, batch.size), self.workers.part(targets, batch.size)
        return self._on_device(Batch(*(self.workers.part(array, batch.size) for array in batch)))

    def _drawn(self, batch: Draw) -> dict[str, torch.Tensor]:
        return {name: self._to_device(array) for name, array in batch.arrays().items()}

    def _backward(
        self, inputs: torch.Tensor, targets: torch.Tensor, total: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Fill the gradients; loss, sums and the norm of all gradients before it was clipped."""
        with self._reduced_precision(), whole_batch(self.model, self.workers, total):
            logits = self.model(inputs)
        value = loss(logits.float(), targets, self.config, self.weights)
        self.optimizer.zero_grad()
        value, sums = self._differentiate(value, self._sums(value.detach(), logits.detach(), targets), total)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm(parameter.grad for parameter in self.parameters if parameter.grad is not None)
        if self.config.gradient_clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.config.gradient_clip, norm)
        optimizers.penalise(self.parameters, self.config)
        return value, sums, norm

    def _reduced_precision(self) -> AbstractContextManager[Any]:
        if self.device.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.kind, getattr(torch, self.device.precision))

    def _differentiate(self, value: torch.Tensor, sums: torch.Tensor, total: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill the gradients of the mean loss of the whole batch; this loss, and the sums over the whole batch."""
        if isinstance(self.workers, ConnectedWorkers):
            # Not of their sum, which would overflow in float16.
            self.scaler.scale(value * (sums[1] / total)).backward()  # type: ignore[no-untyped-call]
            sums = self.workers.average(self.parameters, sums)
            return sums[0] / sums[1], sums
        self.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        return value.detach(), sums

    @torch.no_grad()
    def validate_batch(self, batch: Batch | Draw) -> None:
        """Loss and metric in inference mode."""
        if isinstance(batch, Draw):
            inputs, targets = self.validation.batch(self._drawn(batch))
        else:
            inputs, targets = self._on_device(batch)
        logits = self.model.eval()(inputs)
        value = loss(logits, targets, self.config, self.weights)
        self._add(self._sums(value, logits, targets), torch.zeros_like(value))

    def read_totals(self) -> Totals:
        """The totals so far; this waits for the device."""
        return Totals(*self.totals.tolist())

    def clear_totals(self) -> None:
        """Set all totals to 0."""
        self.totals.zero_()

    def get_weights(self) -> dict[str, np.ndarray]:
        """A copy of all weights, on the CPU."""
        return get_weights(self.model)

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Replace all weights by a copy."""
        set_weights(self.model, weights)

    def state(self) -> LearnerState:
        """A copy of weights, optimizer and random generators."""
        return get_state(self.model, self.optimizer, self.scaler)

    def restore(self, state: LearnerState) -> None:
        """Restore a state."""
        set_state(self.model, self.optimizer, self.scaler, state)

    def inspect(self, batch: Batch) -> Snapshot:
        """Layer statistics, weights and gradients for a batch."""
        inputs, targets = self._on_device(batch)
        return snapshot(self.model, inputs, lambda logits: loss(logits, targets, self.config, self.weights))

    @torch.no_grad()
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Logits in inference mode."""
        logits: torch.Tensor = self.model.eval()(torch.from_numpy(inputs).to(self.device.kind))
        return logits.cpu().numpy()

    def _on_device(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return self._to_device(batch.inputs), self._to_device(batch.targets)

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        """Copy to the GPU through pinned memory, so that the copy overlaps with the computation."""
        tensor = torch.from_numpy(array)
        tensor = tensor.pin_memory() if self.device.kind == "cuda" else tensor
        return tensor.to(self.device.kind, non_blocking=True)

    def _sums(self, value: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of the examples: loss and weight, metric, and their number; float32 [4]."""
        weight = total_weight(targets, self.weights)
        return torch.stack([value * weight, weight, _metric(logits, targets), torch.full_like(value, len(targets))])

    def _add(self, sums: torch.Tensor, norm: torch.Tensor) -> None:
        loss_sum, weight, metric, count = sums
        skipped = torch.zeros_like(norm)
        if self.scales_loss:
            skipped = (~norm.isfinite()).to(norm.dtype)  # the step is not taken
            norm = torch.where(norm.isfinite(), norm, 0.0)
        self.totals += torch.stack([loss_sum, weight, metric, norm * count, count, skipped])


def _metric(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The number of right classes of logits [N,K], or the sum of absolute errors of predictions [N,1]."""
    if targets.ndim == 2:
        targets = targets.argmax(1)
    if targets.is_floating_point():
        return (outputs[:, 0] - targets).abs().sum()
    return (outputs.argmax(1) == targets).sum()
