"""Outputs of a model from its logits, as its exported graph gives them."""

import numpy as np
from scipy.special import softmax

from models.spec import DataSpec


def from_logits(logits: np.ndarray, spec: DataSpec, temperature: float | None = None) -> np.ndarray:
    """The outputs for logits [N, K], which are divided by `temperature` if there is one, or for values [N, 1].

    float32 probabilities [N, K], or predictions [N, 1] in the unit of the target.
    """
    values = logits.astype(np.float64)
    if spec.is_classification:
        return np.asarray(softmax(values / (temperature or 1.0), axis=1), np.float32)
    return np.asarray(values * spec.target_std + spec.target_mean, np.float32)
