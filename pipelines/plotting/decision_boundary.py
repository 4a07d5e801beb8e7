"""What a classifier says of every place of a plane: pictures for data with two numbers an example."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from models.spec import DataSpec

SIDE = 100  # places along each axis of the plane
ZOOM = 4  # pixels of a picture for each
POINTS = 500  # examples that are drawn, at most
RADIUS = 3  # of them, in pixels
PICTURES = 50  # of one training, at most


@dataclass(frozen=True)
class Plane:
    """`places` float32 [SIDE * SIDE, 2], row by row from the top; `points` [N, 2] of `classes` [N] lie in it.

    `low` and `high` are its corners.
    """

    places: np.ndarray
    points: np.ndarray
    classes: np.ndarray
    low: np.ndarray
    high: np.ndarray


def fits(spec: DataSpec) -> bool:
    """Whether examples are points of a plane and have classes."""
    return spec.task == "classification" and spec.kind == "tabular" and spec.categories == ((), ())


def plane(inputs: np.ndarray, targets: np.ndarray) -> Plane:
    """The plane around examples [N, 2], a tenth wider on each side; those with a missing number do not lie in it.

    Along a column that is constant it is as wide as along one whose numbers are 1 apart.
    """
    chosen = np.unique(np.linspace(0, len(inputs) - 1, POINTS).astype(int))
    points, classes = np.asarray(inputs[chosen]), np.asarray(targets[chosen])
    known = ~np.isnan(points).any(axis=1)
    low, high = (extreme(points, axis=0).astype(np.float64) for extreme in (np.nanmin, np.nanmax))
    size, centre = np.where(high > low, high - low, 1.0), (low + high) / 2
    low, high = centre - 0.6 * size, centre + 0.6 * size
    across, down = np.linspace(low[0], high[0], SIDE), np.linspace(high[1], low[1], SIDE)
    places = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    return Plane(places.astype(np.float32), points[known], classes[known], low, high)


def is_due(epoch: int, epochs: int) -> bool:
    """Whether an epoch gets a picture: the first, the last and evenly many between."""
    every = -(-epochs // (PICTURES - 2)) if epochs > PICTURES else 1
    return epoch in (1, epochs) or epoch % every == 0


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of [N, K]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def colour(probabilities_NK: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """The plane as a picture uint8 [SIDE, SIDE, 3]: pale colours of the classes, mixed by their probabilities."""
    colours = np.array([ImageColor.getrgb(palette[index % len(palette)]) for index in range(probabilities_NK.shape[1])])
    mixed = 0.6 * probabilities_NK @ colours + 0.4 * 255
    return np.asarray(np.rint(mixed).reshape(SIDE, SIDE, 3), np.uint8)


def draw(plane: Plane, probabilities_NK: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """The coloured plane with the examples in it, uint8 [H, W, 3]; without Matplotlib, as it is drawn often."""
    image = Image.fromarray(colour(probabilities_NK, palette)).resize((SIDE * ZOOM, SIDE * ZOOM))
    pen, share = ImageDraw.Draw(image), (plane.points - plane.low) / (plane.high - plane.low)
    across, down = share[:, 0] * image.width, (1 - share[:, 1]) * image.height
    for x, y, found in zip(across, down, plane.classes, strict=True):
        pen.circle((x, y), RADIUS, fill=palette[found % len(palette)], outline="white")
    return np.asarray(image)
