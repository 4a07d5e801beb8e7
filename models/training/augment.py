"""Random changes to training examples, in NumPy, so that both frameworks see the same pixels."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.config import Augment


def augment(images_NHWC: np.ndarray, config: Augment, random: np.random.Generator) -> np.ndarray:
    """Shift and flip each image on its own; uint8 [N,H,W,C], overwritten; pixels moved in are 0."""
    if config.flip:
        images_NHWC = _flip(images_NHWC, random)
    if config.shift:
        images_NHWC = _shift(images_NHWC, config.shift, random)
    return images_NHWC


def mixup(
    inputs: np.ndarray, targets: np.ndarray, alpha: float, outputs: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blend each example with another of the batch, all by one share drawn from Beta(alpha, alpha) (Zhang et al. 2018).

    Inputs [N, *shape] keep their dtype; classes int64 [N] become distributions float32 [N, outputs].
    """
    share, partner = np.float32(random.beta(alpha, alpha)), random.permutation(len(inputs))
    if outputs > 1:
        targets = np.eye(outputs, dtype=np.float32)[targets]
    blended = share * inputs + (1 - share) * inputs[partner]
    blended = np.rint(blended) if inputs.dtype == np.uint8 else blended
    return blended.astype(inputs.dtype), share * targets + (1 - share) * targets[partner]


def _flip(images_NHWC: np.ndarray, random: np.random.Generator) -> np.ndarray:
    chosen = np.flatnonzero(random.random(len(images_NHWC)) < 0.5)
    images_NHWC[chosen] = images_NHWC[chosen, :, ::-1]
    return images_NHWC


def _shift(images_NHWC: np.ndarray, limit: int, random: np.random.Generator) -> np.ndarray:
    count, *shape = images_NHWC.shape
    padded = np.pad(images_NHWC, ((0, 0), (limit, limit), (limit, limit), (0, 0)))
    top, left = random.integers(0, 2 * limit + 1, (2, count))
    windows = sliding_window_view(padded, shape, axis=(1, 2, 3))  # [N, 2 limit + 1, 2 limit + 1, 1, H, W, C], no copy
    shifted: np.ndarray = windows[np.arange(count), top, left, 0]
    return shifted
