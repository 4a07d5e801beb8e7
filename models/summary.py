"""Summary statistics of examples, from which drift can be detected and no image can be restored."""

import numpy as np
from numpy.typing import NDArray

from models.spec import DataSpec

STATISTICS = ("mean", "std", "dark", "bright", "edges", "centre row", "centre column")
DARK, BRIGHT = 25, 230  # of 255: a tenth from either end
DECIMALS = 3
PROBABILITY_DECIMALS = 4  # in the prediction log and in what it is compared with


def names(spec: DataSpec) -> tuple[str, ...]:
    """The names of the numbers: the features, or the statistics of each channel."""
    if spec.kind == "tabular":
        return spec.features
    channels = spec.shape[-1]
    places = ("",) if channels == 1 else tuple(f" {channel}" for channel in range(channels))
    return tuple(f"{statistic}{place}" for statistic in STATISTICS for place in places)


def summarise(inputs: NDArray[np.generic], spec: DataSpec) -> NDArray[np.float64]:
    """Raw examples [N, *spec.shape] -> float64 [N, S], in the order of `names`.

    The summary of a table row is the row itself. Of each channel of an image: brightness (`mean`) and contrast
    (`std`) in 0 to 255, the shares of `dark` and `bright` pixels, the mean difference between
    neighbours (`edges`: noise and blur), and the position of its centre of brightness (`centre row` and
    `centre column`, 0 to 1, 0.5 in a black image).
    """
    if spec.kind == "tabular":
        return inputs.astype(np.float64)
    pixels_NHWC = inputs.astype(np.float32)
    parts = (*_levels(pixels_NHWC), _edges(pixels_NHWC), _centre(pixels_NHWC, 1), _centre(pixels_NHWC, 2))
    return np.concatenate(parts, axis=1, dtype=np.float64).round(DECIMALS)


def _levels(pixels_NHWC: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Mean, standard deviation, share of dark and of bright pixels, each [N, C]."""
    shares = [mask.mean(axis=(1, 2), dtype=np.float32) for mask in (pixels_NHWC <= DARK, pixels_NHWC >= BRIGHT)]
    return (pixels_NHWC.mean(axis=(1, 2)), pixels_NHWC.std(axis=(1, 2)), *shares)


def _edges(pixels_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute difference between neighbours, both ways, [N, C]."""
    steps = [np.abs(np.diff(pixels_NHWC, axis=axis)) for axis in (1, 2)]
    means = [step.mean(axis=(1, 2)) if step.size else np.zeros_like(pixels_NHWC[:, 0, 0]) for step in steps]
    return np.asarray((means[0] + means[1]) / 2, np.float32)


def _centre(pixels_NHWC: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The centre of brightness along an axis, [N, C] in 0 to 1."""
    profile = pixels_NHWC.sum(axis=3 - axis)  # [N, H or W, C]
    places = np.linspace(0, 1, profile.shape[1], dtype=np.float32)[:, np.newaxis]
    total = profile.sum(axis=1)
    middle = np.full_like(total, 0.5)
    centre: NDArray[np.float32] = np.divide((profile * places).sum(axis=1), total, out=middle, where=total > 0)
    return centre
