"""Weights of the classes in the loss, the same for both frameworks."""

import numpy as np

from models.config import Train
from models.training.batches import Split


def class_weights(config: Train, train: Split, outputs: int) -> np.ndarray:
    """Float32 [K]: ones, the user's own, or `balanced`: N / (K * count), as in scikit-learn (King & Zeng 2001)."""
    if config.class_weights is None:
        return np.ones(outputs, np.float32)
    if config.class_weights != "balanced":
        return np.array(config.class_weights, np.float32)
    counts = np.bincount(train.targets, minlength=outputs)
    return (len(train) / (outputs * np.maximum(counts, 1))).astype(np.float32)
