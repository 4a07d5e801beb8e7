"""The collectives of torch: gloo between processors, NCCL between GPUs."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional

from models.torch.layers import BatchNorm, Dropout
from models.training.device import Device
from models.training.launchers import RENDEZVOUS, Place
from models.training.workers import LostWorkerError, Workers


@dataclass(frozen=True)
class ConnectedWorkers(Workers):
    """Several processes of torch."""

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over all workers, on the CPU."""
        return self.all_reduce(torch.tensor(array)).numpy()

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all workers; the gradient of the result is summed in the same way."""
        reduced: torch.Tensor = _AllReduce.apply(tensor)  # type: ignore[no-untyped-call]
        return reduced

    def average(self, parameters: Iterable[nn.Parameter], sums: torch.Tensor) -> torch.Tensor:
        """Add the gradients of all workers and divide them by the mean weight of an example; return all `sums`.

        `sums` float32 [4] of this worker: the loss, the weight, another sum, and the number of examples.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.all_reduce(torch.cat([*(gradient.flatten() for gradient in gradients), sums]))
        *reduced, sums = torch.split(flat, [*(gradient.numel() for gradient in gradients), len(sums)])
        for gradient, total in zip(gradients, reduced, strict=True):
            gradient.copy_(total.view_as(gradient)).div_(sums[1] / sums[3])
        return sums


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _all_reduce(tensor)

    @staticmethod
    def backward(_: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return _all_reduce(gradients[0])


def _all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    reduced = tensor.clone()
    with errors_named():
        distributed.all_reduce(reduced)
    return reduced


@contextmanager
def errors_named() -> Iterator[None]:
    """Raise LostWorkerError in place of torch's errors, which are subclasses of RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise LostWorkerError(f"another worker has ended or cannot be reached: {str(error).splitlines()[0]}") from error


def join(place: Place, device: Device) -> ConnectedWorkers:
    """Connect to the other workers, and wait for all of them. Raises LostWorkerError if that fails."""
    method = os.environ.get(RENDEZVOUS, "env://")
    backend = "cpu:gloo,cuda:nccl" if device.kind == "cuda" else "gloo"
    with errors_named():
        distributed.init_process_group(backend, method, rank=place.rank, world_size=place.size)
    return ConnectedWorkers(place.rank, place.size)


@contextmanager
def whole_batch(model: nn.Module, own: Workers, total: int) -> Iterator[None]:
    """Within it, batch normalisation and dropout in training are those of the whole batch of `total` examples."""
    forwards = _forwards(model, own, total) if isinstance(own, ConnectedWorkers) else {}
    for layer, forward in forwards.items():
        layer.forward = forward
    try:
        yield
    finally:
        for layer in forwards:
            del layer.forward


def _forwards(
    model: nn.Module, own: ConnectedWorkers, total: int
) -> dict[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    normalizations = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    dropouts = [layer for layer in model.modules() if isinstance(layer, Dropout)]
    return {layer: partial(_normalise, layer, own) for layer in normalizations} | {
        layer: partial(_drop, layer, own, total) for layer in dropouts
    }


def _normalise(layer: BatchNorm, own: ConnectedWorkers, x: torch.Tensor) -> torch.Tensor:
    """Normalise [N,C] or [N,C,H,W] by the statistics of the whole batch, and update the moving ones."""
    variance, mean = torch.var_mean(x.float(), [0, *range(2, x.ndim)], correction=0)
    mean, variance = _combined(own, mean, variance, x.numel() / x.shape[1])
    with torch.no_grad():
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance, layer.momentum)
    factor = layer.weight * (variance + layer.eps).rsqrt()
    offset = layer.bias - mean * factor
    shape = (1, -1, *(1 for _ in range(2, x.ndim)))
    return (x * factor.view(shape) + offset.view(shape)).to(x.dtype)


def _combined(
    own: ConnectedWorkers, mean: torch.Tensor, variance: torch.Tensor, count: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance [C] of the numbers of all workers, from those of each and their `count` (Chan et al. 1979)."""
    moments = torch.cat([mean, variance, mean.new_tensor([count])])
    # Gathered as a sum of rows, of which each worker has one.
    row = functional.pad(moments[None], (0, 0, own.rank, own.size - own.rank - 1))
    means_RC, variances_RC, counts_R1 = torch.split(own.all_reduce(row), [len(mean), len(mean), 1], 1)
    shares_R1 = counts_R1 / counts_R1.sum()
    mean = (shares_R1 * means_RC).sum(0)
    return mean, (shares_R1 * (variances_RC + (means_RC - mean) ** 2)).sum(0)


def _drop(layer: Dropout, own: ConnectedWorkers, total: int, x: torch.Tensor) -> torch.Tensor:
    """The rows of this worker, by factors that are drawn for the whole batch."""
    factors: torch.Tensor = own.part(layer.factors(x, torch.Size((total, *x.shape[1:]))), total)
    return x * factors
