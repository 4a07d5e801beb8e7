"""Some images of a split side by side, as one image."""

import numpy as np

from models.batches import Split, spread

ROWS, COLUMNS = 4, 8
PIXELS = 64  # a side of one image, about
EDGE = 2  # white pixels around it


def mosaic(split: Split) -> np.ndarray:
    """As many images of [N,H,W,C] as there are places, as stored, on white: uint8 [ROWS * h, COLUMNS * w, C]."""
    images = spread(split, ROWS * COLUMNS).inputs
    larger, smaller = max(1, PIXELS // max(images.shape[1:3])), -(-max(images.shape[1:3]) // PIXELS)
    images = images[:, ::smaller, ::smaller].repeat(larger, axis=1).repeat(larger, axis=2)
    count, height, width, channels = len(images), *(side + 2 * EDGE for side in images.shape[1:3]), images.shape[3]
    places = np.full((ROWS * COLUMNS, height, width, channels), 255, np.uint8)
    places[:count, EDGE:-EDGE, EDGE:-EDGE] = images
    grid = places.reshape(ROWS, COLUMNS, height, width, channels).swapaxes(1, 2)
    return grid.reshape(ROWS * height, COLUMNS * width, channels)
