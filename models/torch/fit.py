"""Training in torch: the maths of one step; the epochs are `models.loop`."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from models import loop
from models.batches import Batch, Data
from models.config import Train
from models.device import Device
from models.loop import Epoch, Progress, Totals
from models.torch import optimizers
from models.torch.losses import loss
from models.torch.store import get_weights, set_weights


def fit(
    model: nn.Module,
    data: Data,
    config: Train,
    device: Device,
    on_epoch: Callable[[Epoch], None],
    on_step: Callable[[Progress], None],
) -> list[Epoch]:
    """Train the model in place; its history, an entry an epoch. The model is on the CPU afterwards.

    Raises NotFiniteError where the loss is no longer a number.
    """
    learner = TorchLearner(model, config, device)
    history = loop.run(learner, data, config, on_epoch, on_step)
    model.cpu().to(memory_format=torch.contiguous_format).eval()
    return history


class TorchLearner:
    """A torch model, its optimizer and its device."""

    def __init__(self, model: nn.Module, config: Train, device: Device) -> None:
        # Convolutions are fastest where the channels lie next to each other.
        self.model = model.to(device.kind).to(memory_format=torch.channels_last)
        self.config = config
        self.device = device
        self.optimizer = optimizers.build(model, config)
        self.totals = torch.zeros(4, dtype=torch.float64, device=device.kind)

    def train_batch(self, batch: Batch, rate: float) -> None:
        """One step of the optimizer."""
        inputs, targets = self._on_device(batch)
        self.model.train()
        with torch.autocast(self.device.kind, torch.bfloat16, enabled=self.device.precision == "bfloat16"):
            logits = self.model(inputs)
        value = loss(logits.float(), targets, self.config)
        self.optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip or float("inf"))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._add(value.detach(), logits, targets, norm)

    @torch.no_grad()
    def validate_batch(self, batch: Batch) -> None:
        """Loss and measure in inference mode."""
        inputs, targets = self._on_device(batch)
        logits = self.model.eval()(inputs)
        value = loss(logits, targets, self.config)
        self._add(value, logits, targets, torch.zeros_like(value))

    def read_totals(self) -> Totals:
        """The totals so far; this waits for the device."""
        return Totals(*self.totals.tolist())

    def clear_totals(self) -> None:
        """Start to add up anew."""
        self.totals.zero_()

    def get_weights(self) -> dict[str, np.ndarray]:
        """A copy of all weights, on the CPU."""
        return get_weights(self.model)

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Put a copy back."""
        set_weights(self.model, weights)

    def _on_device(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """To the GPU through pinned memory, so that the copy runs beside the computation."""
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        if self.device.kind == "cpu":
            return inputs, targets
        return (
            inputs.pin_memory().to(self.device.kind, non_blocking=True),
            targets.pin_memory().to(self.device.kind, non_blocking=True),
        )

    def _add(self, value: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor, norm: torch.Tensor) -> None:
        count = len(targets)
        self.totals += torch.stack(
            [value * count, _measure(logits.detach(), targets), norm * count, torch.full_like(value, count)]
        )


def _measure(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The number of right classes of logits [N,K], or the sum of absolute errors of predictions [N,1]."""
    if targets.is_floating_point():
        return (outputs[:, 0] - targets).abs().sum()
    return (outputs.argmax(1) == targets).sum()
