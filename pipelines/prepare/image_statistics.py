"""Mean and standard deviation of raw pixels, exact and in one pass."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts.npy import spans


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel of `images` [N, H, W, C], in raw values 0..255.

    Counted in whole numbers, so that chunking and the order of sums change no digit. The standard
    deviation of a constant channel is 0.
    """
    moments = [_moments(counts) for counts in _histograms(images)]
    return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)


def _histograms(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each of the 256 values occurs, int64 [C, 256]."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for span in spans(images):
        for channel in range(channels):
            counts[channel] += np.bincount(images[span, ..., channel].reshape(-1), minlength=256)
    return counts


def _moments(counts: Iterable[int]) -> tuple[float, float]:
    """Python's integers, which have no largest one."""
    pairs = [(value, int(count)) for value, count in enumerate(counts)]
    number = sum(count for _, count in pairs)
    total = sum(value * count for value, count in pairs)
    squares = sum(value * value * count for value, count in pairs)
    return total / number, math.sqrt((number * squares - total * total) / number**2)
