"""Mean and standard deviation of raw pixels, computed exactly in one pass."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts.npy import spans


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel of `images` [N, H, W, C], in raw values 0..255.

    Based on integer counts, so that the result does not depend on chunking or the order of summation. The
    standard deviation of a constant channel is 0.
    """
    moments = [_moments(counts) for counts in _histograms(images)]
    return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)


def _histograms(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts of each of the 256 values, int64 [C, 256]."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for span in spans(images):
        for channel in range(channels):
            counts[channel] += np.bincount(images[span, ..., channel].reshape(-1), minlength=256)
    return counts


def _moments(counts: Iterable[int]) -> tuple[float, float]:
    """Mean and standard deviation, in Python integers, which do not overflow."""
    pairs = [(value, int(count)) for value, count in enumerate(counts)]
    number = sum(count for _, count in pairs)
    total = sum(value * count for value, count in pairs)
    squares = sum(value * value * count for value, count in pairs)
    return total / number, math.sqrt((number * squares - total * total) / number**2)
