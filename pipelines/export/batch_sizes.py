"""Predictions in batches of several sizes."""

import numpy as np

from models.interfaces import Predict
from models.memory_map import batches

BATCH_SIZES = (1, 2, 7, 32)


def predict(function: Predict, inputs: np.ndarray, batch: int) -> np.ndarray:
    """Outputs [N, K] for raw inputs [N, *shape], which may be memory-mapped, in batches of one size."""
    return np.concatenate([function(np.array(part)) for part in batches(inputs, batch)])


def predict_in_all_sizes(function: Predict, inputs: np.ndarray) -> np.ndarray:
    """Outputs [len(BATCH_SIZES), N, K] for raw inputs [N, *shape]."""
    return np.stack([predict(function, inputs, batch) for batch in BATCH_SIZES])
