"""Some images of a split in one image."""

import numpy as np

from models.training.batches import Split, evenly_spaced

ROWS, COLUMNS = 4, 8
PIXELS = 64  # approximate width and height of one image
BORDER = 2  # white pixels around it


def draw(split: Split) -> np.ndarray:
    """Up to ROWS * COLUMNS images of [N,H,W,C], as stored, on white: uint8 [ROWS * h, COLUMNS * w, C]."""
    images = evenly_spaced(split, ROWS * COLUMNS).inputs
    larger, smaller = max(1, PIXELS // max(images.shape[1:3])), -(-max(images.shape[1:3]) // PIXELS)
    images = images[:, ::smaller, ::smaller].repeat(larger, axis=1).repeat(larger, axis=2)
    count, height, width, channels = len(images), *(side + 2 * BORDER for side in images.shape[1:3]), images.shape[3]
    cells = np.full((ROWS * COLUMNS, height, width, channels), 255, np.uint8)
    cells[:count, BORDER:-BORDER, BORDER:-BORDER] = images
    grid = cells.reshape(ROWS, COLUMNS, height, width, channels).swapaxes(1, 2)
    return grid.reshape(ROWS * height, COLUMNS * width, channels)
