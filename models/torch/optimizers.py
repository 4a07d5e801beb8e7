"""Optimizers of torch by name, with the constants of the Keras room."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from models.config import Train

OPTIMIZERS: dict[str, Callable[[Any, Train], torch.optim.Optimizer]] = {
    "sgd": lambda groups, config: torch.optim.SGD(groups, config.learning_rate, config.momentum),
    "adam": lambda groups, config: torch.optim.Adam(groups, config.learning_rate, eps=1e-8),
    "adamw": lambda groups, config: torch.optim.AdamW(groups, config.learning_rate, eps=1e-8),
    "rmsprop": lambda groups, config: torch.optim.RMSprop(
        groups, config.learning_rate, alpha=0.9, eps=1e-7, momentum=config.momentum
    ),
}


def build(model: nn.Module, config: Train) -> torch.optim.Optimizer:
    """The optimizer by name. Only kernels decay: biases and normalisations do not.

    `adamw` decays the weights themselves (Loshchilov & Hutter 2019), the others add the decay to
    the gradient.
    """
    kernels = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return OPTIMIZERS[config.optimizer](groups, config)
