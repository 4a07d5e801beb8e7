"""Outputs and gradients of the layers of a torch model for one batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from models.torch.store import get_weights, layer_name, tensors, to_shared
from models.training.snapshot import Outputs, Snapshot, is_watched


def snapshot(model: nn.Module, inputs: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]) -> Snapshot:
    """The outputs of the layers for raw `inputs` in inference mode, and the gradients of the `loss` of the logits.

    The model is as before: no gradient is kept in it, no statistic moves.
    """
    outputs: dict[str, torch.Tensor] = {}
    with _watched(model.eval(), outputs):
        value = loss(model(inputs))
    weights = {name: tensor for name, tensor in tensors(model) if tensor.requires_grad}
    gradients = torch.autograd.grad(value, list(weights.values()), materialize_grads=True)
    return Snapshot(
        {layer: Outputs(*numbers.tolist()) for layer, numbers in outputs.items()},
        get_weights(model),
        {name: to_shared(gradient) for name, gradient in zip(weights, gradients, strict=True)},
    )


@contextmanager
def _watched(model: nn.Module, outputs: dict[str, torch.Tensor]) -> Iterator[None]:
    """In the block, each watched layer stores its output in `outputs`."""
    layers = {layer_name(model, path): module for path, module in model.named_modules() if path}
    watched = {name: module for name, module in layers.items() if is_watched(name)}
    handles = [module.register_forward_hook(partial(_note, outputs, name)) for name, module in watched.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note(outputs: dict[str, torch.Tensor], name: str, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
    outputs[name] = _describe(output.detach())


def _describe(output: torch.Tensor) -> torch.Tensor:
    """The numbers of `Outputs` of [N,C] or [N,C,H,W]."""
    zeros = (output == 0).float()
    dead = zeros.movedim(1, -1).flatten(0, -2).amin(0)  # [C]
    return torch.stack([output.mean(), output.std(correction=0), zeros.mean(), dead.mean()])
