"""What torch minimises. The same numbers as the Keras room on the same inputs."""

import torch
from torch.nn import functional

from models.config import Train


def loss(logits: torch.Tensor, targets: torch.Tensor, config: Train) -> torch.Tensor:
    """Mean cross-entropy over the batch, in nats; logits float32 [N,K], targets int64 [N].

    Of a regression the mean squared error; predictions float32 [N,1], targets float32 [N].
    """
    if targets.is_floating_point():
        return functional.mse_loss(logits[:, 0], targets)
    return functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
