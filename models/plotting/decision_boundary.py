"""Decision boundaries of classifiers of two numerical features, drawn on a grid of points of the plane."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from models.spec import DataSpec

GRID_SIZE = 100  # points along each axis of the plane
PIXELS = 4  # width and height of a grid point in the image
MAX_EXAMPLES = 500
RADIUS = 3  # of an example, in pixels
MAX_IMAGES = 50  # of one training


@dataclass(frozen=True)
class Plane:
    """`grid` float32 [GRID_SIZE * GRID_SIZE, 2], row by row from the top; examples `points` [N, 2] of `classes` [N].

    `low` and `high` are the corners.
    """

    grid: np.ndarray
    points: np.ndarray
    classes: np.ndarray
    low: np.ndarray
    high: np.ndarray


def is_applicable(spec: DataSpec) -> bool:
    """True for a classification of two numerical features."""
    return spec.is_classification and spec.kind == "tabular" and spec.categories == ((), ())


def plane(inputs: np.ndarray, targets: np.ndarray, spec: DataSpec) -> Plane:
    """The plane around examples [N, 2] with a margin of a tenth; examples with a missing value are left out.

    It is as wide as for a range of 1 along a constant feature, and around the mean of `spec` for one without values.
    """
    chosen = np.unique(np.linspace(0, len(inputs) - 1, MAX_EXAMPLES).astype(int))
    points, classes = np.asarray(inputs[chosen]), np.asarray(targets[chosen])
    known = ~np.isnan(points).any(axis=1)
    low, high = (extreme.reduce(points, axis=0).astype(np.float64) for extreme in (np.fmin, np.fmax))
    low, high = (np.where(np.isnan(corner), spec.mean, corner) for corner in (low, high))
    size, centre = np.where(high > low, high - low, 1.0), (low + high) / 2
    low, high = centre - 0.6 * size, centre + 0.6 * size
    across, down = np.linspace(low[0], high[0], GRID_SIZE), np.linspace(high[1], low[1], GRID_SIZE)
    grid = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    return Plane(grid.astype(np.float32), points[known], classes[known], low, high)


def is_due(epoch: int, epochs: int) -> bool:
    """True for the epochs with an image: the first, the last and evenly spaced ones between."""
    every = -(-epochs // (MAX_IMAGES - 2)) if epochs > MAX_IMAGES else 1
    return epoch in (1, epochs) or epoch % every == 0


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of [N, K]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def blend_colours(probabilities_NK: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """The grid as an image uint8 [GRID_SIZE, GRID_SIZE, 3]: light class colours, weighted by the probabilities."""
    colours = np.array([ImageColor.getrgb(palette[index % len(palette)]) for index in range(probabilities_NK.shape[1])])
    mixed = 0.6 * probabilities_NK @ colours + 0.4 * 255
    return np.asarray(np.rint(mixed).reshape(GRID_SIZE, GRID_SIZE, 3), np.uint8)


def draw(plane: Plane, probabilities_NK: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """The blended colours with the examples, uint8 [H, W, 3]; without Matplotlib, which is too slow for each epoch."""
    image = Image.fromarray(blend_colours(probabilities_NK, palette))
    image = image.resize((image.width * PIXELS, image.height * PIXELS))
    pen, share = ImageDraw.Draw(image), (plane.points - plane.low) / (plane.high - plane.low)
    across, down = share[:, 0] * image.width, (1 - share[:, 1]) * image.height
    for x, y, index in zip(across, down, plane.classes, strict=True):
        pen.circle((x, y), RADIUS, fill=palette[index % len(palette)], outline="white")
    return np.asarray(image)
