"""Temperature scaling: one number that divides the logits, so that confidence agrees with accuracy.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. The most probable class stays the same.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from models.errors import InputError

LAST_LAYER = "logits"
LOWEST, HIGHEST = 0.05, 20.0
DECIMALS = 4  # more are not known from a validation split
# Examples of unknown class. By cross-validation on the validation split of the digits, for all four default candidates,
# 0.5 has the lowest log loss of 0.01 to 2 (0.0728 on average; 0.0744 for 0.01, 0.0734 for 1).
UNKNOWN_EXAMPLES = 0.5


def fit(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature with the lowest mean negative log-likelihood of `targets` int64 [N], given logits [N, K].

    A part of an example of unknown class, a uniform target, is added, with the same purpose as in Platt scaling (Platt
    1999, section 2.2): where all examples are classified correctly, the likelihood alone makes every confidence 1.
    """
    logits = logits.astype(np.float64)
    true, mean = logits[np.arange(len(targets)), targets].mean(), logits.mean()
    weight = UNKNOWN_EXAMPLES / len(targets)

    def loss(inverse: float) -> float:
        """Convex in the inverse temperature."""
        total = float(np.mean(logsumexp(inverse * logits, axis=1)))
        return (1 + weight) * total - inverse * float(true + weight * mean)

    minimum = minimize_scalar(loss, bounds=(1 / HIGHEST, 1 / LOWEST), method="bounded", options={"xatol": 1e-6})
    return round(1 / float(minimum.x), DECIMALS)


def scale_weights(weights: Mapping[str, np.ndarray], temperature: float) -> dict[str, np.ndarray]:
    """The weights of a model whose logits are divided by `temperature`: those of its last layer are.

    In every exported format this takes no operation of its own. Raises InputError where the model has no such layer.
    """
    scaled = [name for name in weights if name.startswith(f"{LAST_LAYER}/")]
    if not scaled:
        raise InputError(
            f"export.calibration = 'temperature': the model has no layer called '{LAST_LAYER}'; name the last one so, "
            "or allowed: none"
        )
    return {name: array / np.float32(temperature) if name in scaled else array for name, array in weights.items()}
