"""Optimizers of torch by name, with the constants of `models.constants`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from models.config import Train
from models.constants import ADAGRAD_INITIAL_SUM, DECAY, DECOUPLED_WEIGHT_DECAY, EPSILON, LION_BETAS


class Lion(torch.optim.Optimizer):
    """Steps of one size, in the direction of the sign of a momentum; torch has none (Chen et al. 2023)."""

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float] = LION_BETAS) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, after the closure has computed the gradients."""
        with torch.enable_grad():
            value = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                self._move(parameter, group)
        return value

    def _move(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        direction = (momentum * first + parameter.grad * (1 - first)).sign()
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
        momentum.lerp_(parameter.grad, 1 - second)


OPTIMIZERS: dict[str, Callable[[Any, Train], torch.optim.Optimizer]] = {
    "sgd": lambda groups, config: torch.optim.SGD(
        groups, config.learning_rate, config.momentum, nesterov=config.nesterov
    ),
    "adam": lambda groups, config: torch.optim.Adam(groups, config.learning_rate, eps=EPSILON["adam"], fused=True),
    "adamw": lambda groups, config: torch.optim.AdamW(groups, config.learning_rate, eps=EPSILON["adamw"], fused=True),
    "rmsprop": lambda groups, config: torch.optim.RMSprop(
        groups, config.learning_rate, alpha=DECAY["rmsprop"], eps=EPSILON["rmsprop"], momentum=config.momentum
    ),
    "adagrad": lambda groups, config: torch.optim.Adagrad(
        groups, config.learning_rate, initial_accumulator_value=ADAGRAD_INITIAL_SUM, eps=EPSILON["adagrad"]
    ),
    "adadelta": lambda groups, config: torch.optim.Adadelta(
        groups, config.learning_rate, rho=DECAY["adadelta"], eps=EPSILON["adadelta"]
    ),
    "lion": lambda groups, config: Lion(groups, config.learning_rate),
    # It knows no groups. At most 20 evaluations of a batch; the steps are those of the learning rate, without a search.
    "lbfgs": lambda groups, config: torch.optim.LBFGS(
        [parameter for group in groups for parameter in group["params"]], config.learning_rate
    ),
    # The average starts after a million steps, torch's default: before that, this is gradient descent whose steps
    # shrink. Unless it is capturable it reads its step size from a GPU, and waits for it.
    "asgd": lambda groups, config: torch.optim.ASGD(
        groups, config.learning_rate, capturable=groups[0]["params"][0].device.type != "cpu"
    ),
}


def build(model: nn.Module, config: Train) -> torch.optim.Optimizer:
    """The optimizer by name. Only kernels decay: biases, normalisations and slopes do not.

    `adamw` and `lion` decay the weights themselves (Loshchilov & Hutter 2019); for the others `penalise`
    adds the decay to the gradient.
    """
    kernels = [parameter for parameter in model.parameters() if is_kernel(parameter)]
    others = [parameter for parameter in model.parameters() if not is_kernel(parameter)]
    decay = config.weight_decay if config.optimizer in DECOUPLED_WEIGHT_DECAY else 0.0
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return OPTIMIZERS[config.optimizer](groups, config)


def is_kernel(parameter: torch.Tensor) -> bool:
    """True of a parameter that may decay."""
    return parameter.ndim > 1


def penalise(parameters: Iterable[nn.Parameter], config: Train) -> None:
    """Add to the gradients of kernels those of the L1 and L2 penalties; L2 where the optimizer does not decay."""
    decay = 0.0 if config.optimizer in DECOUPLED_WEIGHT_DECAY else config.weight_decay
    for parameter in parameters:
        if parameter.grad is None or not is_kernel(parameter):
            continue
        if decay:
            parameter.grad.add_(parameter.detach(), alpha=decay)
        if config.l1:
            parameter.grad.add_(parameter.detach().sign(), alpha=config.l1)
