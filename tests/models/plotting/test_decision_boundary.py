"""Images of decision boundaries, and the image grid."""

import numpy as np
import pytest

from models.plotting import decision_boundary
from models.spec import DataSpec
from models.training.batches import Split
from pipelines.train import image_grid

PALETTE = ("#ff0000", "#0000ff")


def spec(**changes):
    values = {"name": "moons", "task": "classification", "kind": "tabular", "shape": (2,), "dtype": "float32"}
    values |= {"labels": ("0", "1"), "target": "class", "features": ("x", "y"), "mean": (0.0, 0.0), "std": (1.0, 1.0)}
    return DataSpec(**values | {"categories": ((), ()), "fill": (None, None)} | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"task": "regression", "labels": ()}, False),
        ({"categories": ((), ("a", "b"))}, False),
        ({"kind": "image", "shape": (8, 8, 1), "categories": ()}, False),
    ],
)
def test_only_points_of_a_plane_with_classes_have_a_picture(changes, expected):
    assert decision_boundary.is_applicable(spec(**changes)) is expected


def test_up_is_up_and_right_is_right():
    points = np.array([[-1, -1], [1, 1], [np.nan, 0]], np.float32)
    plane = decision_boundary.plane(points, np.array([0, 1, 1]), spec())
    assert len(plane.points) == 2
    above = (plane.grid[:, 1] > 0) & (plane.grid[:, 0] > 0)
    image = decision_boundary.draw(plane, np.stack([~above, above], axis=1).astype(float), PALETTE)
    red, blue = image[-10, 10], image[10, -10]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    np.testing.assert_array_equal(image[10, 10], red)
    inside = (image == (255, 0, 0)).all(axis=2).nonzero()
    assert inside[0].mean() > image.shape[0] / 2  # the point of class 0 lies below ...
    assert inside[1].mean() < image.shape[1] / 2  # ... and left


@pytest.mark.parametrize("constant", [1.0, 1e9])
def test_points_on_a_line_are_drawn_too(constant):
    points = np.stack([np.linspace(-1, 1, 30), np.full(30, constant)], axis=1).astype(np.float32)
    plane = decision_boundary.plane(points, np.zeros(30, np.int64), spec())
    image = decision_boundary.draw(plane, np.full((len(plane.grid), 2), 0.5), PALETTE)
    rows, columns = (image == (255, 0, 0)).all(axis=2).nonzero()
    assert rows.mean() == pytest.approx(image.shape[0] / 2, abs=2)
    assert columns.min() < 0.1 * image.shape[1] < 0.9 * image.shape[1] < columns.max()


def test_a_feature_without_any_value_is_drawn_around_its_mean_in_training():
    points = np.stack([np.linspace(-1, 1, 30), np.full(30, np.nan)], axis=1).astype(np.float32)
    plane = decision_boundary.plane(points, np.zeros(30, np.int64), spec(mean=(0.0, 5.0), fill=(None, 5.0)))
    assert len(plane.points) == 0
    assert (plane.low[1], plane.high[1]) == pytest.approx((4.4, 5.6))
    assert np.isfinite(plane.grid).all()


@pytest.mark.parametrize("epochs", [1, 20, 50, 51, 99, 100, 1000])
def test_there_are_not_many_pictures_and_they_begin_and_end_with_the_training(epochs):
    due = [epoch for epoch in range(1, epochs + 1) if decision_boundary.is_due(epoch, epochs)]
    assert due[0] == 1
    assert due[-1] == epochs
    assert min(epochs, 20) <= len(due) <= decision_boundary.MAX_IMAGES


@pytest.mark.parametrize(("count", "shape"), [(200, (8, 8, 1)), (3, (200, 100, 3))])
def test_a_mosaic_shows_images_as_they_are(count, shape):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros(shape, np.uint8)
    grid = image_grid.draw(Split(images, np.zeros(count, np.int64)))
    height, width = grid.shape[0] // image_grid.ROWS, grid.shape[1] // image_grid.COLUMNS
    assert max(height, width) <= image_grid.PIXELS + 2 * image_grid.BORDER
    assert grid.shape[2] == shape[2]
    first = grid[:height, :width]
    assert (
        first[image_grid.BORDER : -image_grid.BORDER, image_grid.BORDER : -image_grid.BORDER] == images[0, 0, 0]
    ).all()
    assert (first[: image_grid.BORDER] == 255).all()
    assert len(np.unique(grid)) == min(count, 32) + 1
