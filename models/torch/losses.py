"""Losses of torch by name. The values equal those of `models.keras.losses`.

Of classification: logits float32 [N,K] and the targets' distribution float32 [N,K]; of regression: outputs and
targets float32 [N]. Each gives the loss of each example, float32 [N].
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from models.config import Train
from models.constants import MIN_FOCAL_MISS


def cross_entropy(logits_NK: torch.Tensor, targets_NK: torch.Tensor, _: Train) -> torch.Tensor:
    """In nats."""
    return functional.cross_entropy(logits_NK, targets_NK, reduction="none")


def binary_cross_entropy(logits_N2: torch.Tensor, targets_N2: torch.Tensor, _: Train) -> torch.Tensor:
    """Of the second class, whose logit is the difference of the two: softmax gives the sigmoid of it."""
    logits_N = logits_N2[:, 1] - logits_N2[:, 0]
    return functional.binary_cross_entropy_with_logits(logits_N, targets_N2[:, 1], reduction="none")


def kl_divergence(logits_NK: torch.Tensor, targets_NK: torch.Tensor, _: Train) -> torch.Tensor:
    """From the targets to the softmax, in nats: the cross-entropy less the targets' own entropy."""
    return functional.kl_div(functional.log_softmax(logits_NK, 1), targets_NK, reduction="none").sum(1)


def hinge(logits_NK: torch.Tensor, targets_NK: torch.Tensor, _: Train) -> torch.Tensor:
    """max(0, 1 + highest wrong logit - right logit) (Crammer & Singer 2001); right is the likeliest target."""
    right_N1 = targets_NK.argmax(1, keepdim=True)
    # Not by a mask: the size of what it selects would be read from the device.
    right_N = logits_NK.gather(1, right_N1)[:, 0]
    wrong_N = logits_NK.scatter(1, right_N1, -torch.inf).amax(1)
    return functional.relu(1 + wrong_N - right_N)


def focal(logits_NK: torch.Tensor, targets_NK: torch.Tensor, config: Train) -> torch.Tensor:
    """Cross-entropy times (1 - p)^gamma: easy examples have a smaller weight (Lin et al. 2017)."""
    logs_NK = functional.log_softmax(logits_NK, 1)
    misses_NK = (-logs_NK.expm1()).clamp(min=MIN_FOCAL_MISS)
    return -(targets_NK * misses_NK**config.focal_gamma * logs_NK).sum(1)


def mse(outputs_N: torch.Tensor, targets_N: torch.Tensor, _: Train) -> torch.Tensor:
    """Squared error."""
    return functional.mse_loss(outputs_N, targets_N, reduction="none")


def l1(outputs_N: torch.Tensor, targets_N: torch.Tensor, _: Train) -> torch.Tensor:
    """Absolute error."""
    return functional.l1_loss(outputs_N, targets_N, reduction="none")


def huber(outputs_N: torch.Tensor, targets_N: torch.Tensor, config: Train) -> torch.Tensor:
    """Half the squared error up to delta, a line beyond it (Huber 1964); smooth L1 where delta is 1."""
    return functional.huber_loss(outputs_N, targets_N, reduction="none", delta=config.huber_delta)


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor, Train], torch.Tensor]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "kl_divergence": kl_divergence,
    "hinge": hinge,
    "focal": focal,
    "mse": mse,
    "l1": l1,
    "huber": huber,
}


def loss(outputs: torch.Tensor, targets: torch.Tensor, config: Train, weights: torch.Tensor) -> torch.Tensor:
    """The mean over the batch; of classification weighted by `weights` [K] of the targets' classes.

    `outputs` float32 [N,K]; `targets` int64 [N] or a distribution float32 [N,K], or float32 [N] of regression.
    """
    count = outputs.shape[1]
    function = LOSSES[config.loss_for(count)]
    if count == 1:
        return function(outputs[:, 0], targets, config).mean()
    targets_NK = targets if targets.ndim == 2 else functional.one_hot(targets, count).to(outputs.dtype)
    weights_N = targets_NK @ weights
    smoothed_NK = targets_NK * (1 - config.label_smoothing) + config.label_smoothing / count
    return (function(outputs, smoothed_NK, config) * weights_N).sum() / weights_N.sum()


def total_weight(targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The divisor in `loss`, float32: the sum of the examples' weights, their number of regression."""
    if targets.ndim == 2:
        return (targets @ weights).sum()
    if targets.is_floating_point():
        return torch.ones_like(targets).sum()
    return weights[targets].sum()
