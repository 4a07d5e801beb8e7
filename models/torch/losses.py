"""What torch minimises. The same numbers as the Keras room on the same inputs."""

import torch
from torch.nn import functional

from models.config import Train


def loss(logits: torch.Tensor, targets: torch.Tensor, config: Train) -> torch.Tensor:
    """Mean cross-entropy over the batch, in nats; logits float32 [N,K], targets int64 [N]."""
    return functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
