"""A function of a raw batch, asked about many examples in batches of several sizes."""

import numpy as np

from models.interfaces import Predict

BATCHES = (1, 2, 7, 32)


def predict(function: Predict, inputs: np.ndarray, batch: int) -> np.ndarray:
    """Outputs [N, K] of a function that is called batch by batch, each copied from a memory map only then."""
    starts = range(0, len(inputs), batch)
    return np.concatenate([function(np.array(inputs[start : start + batch])) for start in starts])


def predict_in_all_sizes(function: Predict, inputs: np.ndarray) -> np.ndarray:
    """Outputs [batches, N, K] for raw inputs [N, *shape], in batches of 1, 2, 7 and 32."""
    return np.stack([predict(function, inputs, batch) for batch in BATCHES])
