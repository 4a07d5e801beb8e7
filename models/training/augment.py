"""Random changes to training examples, drawn in NumPy, so that both frameworks are trained on the same pixels.

They are applied by NumPy, or on a GPU that keeps the examples by `models.torch.resident` and `models.keras.resident`.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.config import Augment


class Draw(NamedTuple):
    """The N examples of a batch and their changes; None of those that are off.

    `rows` int64 [N] of a split; `flipped` bool [N]; `corners` int64 [2,N], top and left of the shifted images within
    images padded by the limit; `share` float32 and `partners` int64 [N] of mixup.
    """

    rows: np.ndarray
    flipped: np.ndarray | None = None
    corners: np.ndarray | None = None
    share: np.ndarray | None = None
    partners: np.ndarray | None = None

    @property
    def size(self) -> int:
        """N."""
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """The size of the row numbers in bytes."""
        return self.rows.nbytes

    def arrays(self) -> dict[str, np.ndarray]:
        """What is not None, by name."""
        return {name: array for name, array in self._asdict().items() if array is not None}


def draw(rows: np.ndarray, config: Augment, random: np.random.Generator, images: bool) -> Draw:
    """Draw the changes of these rows: shifts and flips of `images` only."""
    count = len(rows)
    flipped = random.random(count) < 0.5 if images and config.flip else None
    corners = random.integers(0, 2 * config.shift + 1, (2, count)) if images and config.shift else None
    if not config.mixup:
        return Draw(rows, flipped, corners)
    # All are blended by one share (Zhang et al. 2018).
    share = np.array(random.beta(config.mixup, config.mixup), np.float32)
    return Draw(rows, flipped, corners, share, random.permutation(count))


def change(
    inputs: np.ndarray, targets: np.ndarray, drawn: Draw, config: Augment, outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply drawn changes to the examples of its rows: inputs [N, *shape], overwritten, and targets [N].

    Flipped and shifted images are uint8 [N,H,W,C]; pixels moved in are 0. Blended inputs keep their dtype, blended
    classes int64 become distributions float32 [N, outputs].
    """
    if drawn.flipped is not None:
        chosen = np.flatnonzero(drawn.flipped)
        inputs[chosen] = inputs[chosen, :, ::-1]
    if drawn.corners is not None:
        inputs = _shift(inputs, drawn.corners, config.shift)
    if drawn.share is None or drawn.partners is None:
        return inputs, targets
    if outputs > 1:
        targets = (targets[:, None] == np.arange(outputs)).astype(np.float32)
    share, partners = np.float32(drawn.share), drawn.partners
    blended = share * inputs + (1 - share) * inputs[partners]
    blended = np.rint(blended) if inputs.dtype == np.uint8 else blended
    return blended.astype(inputs.dtype), share * targets + (1 - share) * targets[partners]


def _shift(images_NHWC: np.ndarray, corners: np.ndarray, limit: int) -> np.ndarray:
    count, *shape = images_NHWC.shape
    padded = np.pad(images_NHWC, ((0, 0), (limit, limit), (limit, limit), (0, 0)))
    windows = sliding_window_view(padded, shape, axis=(1, 2, 3))  # [N, 2 limit + 1, 2 limit + 1, 1, H, W, C], no copy
    shifted: np.ndarray = windows[np.arange(count), *corners, 0]
    return shifted
