"""The few numbers that stand for an example, against the definition."""

from dataclasses import replace

import numpy as np
import pytest

from models import summary
from tests.serving.bundles import DIGITS, IRIS, raw


def image(shape: tuple[int, ...], value: int = 0) -> np.ndarray:
    return np.full((1, *shape), value, np.uint8)


def of(images: np.ndarray, spec=DIGITS) -> dict[str, float]:
    return dict(zip(summary.names(spec), summary.summarise(images, spec)[0].tolist(), strict=True))


def test_a_row_of_a_table_stands_for_itself():
    rows = raw(IRIS, 5)
    assert summary.names(IRIS) == IRIS.features
    np.testing.assert_array_equal(summary.summarise(rows, IRIS), rows)


def test_a_black_image_has_its_centre_in_the_middle():
    expected = {"mean": 0, "std": 0, "dark": 1, "bright": 0, "edges": 0, "centre row": 0.5, "centre column": 0.5}
    assert of(image((8, 8, 1))) == expected


def test_one_bright_pixel_is_found_where_it_is():
    one = image((8, 8, 1))
    one[0, 7, 0, 0] = 255
    found = of(one)
    assert (found["centre row"], found["centre column"]) == (1, 0)
    assert (found["bright"], found["dark"]) == (round(1 / 64, 3), round(63 / 64, 3))
    assert found["mean"] == pytest.approx(255 / 64, abs=1e-3)
    assert found["edges"] == pytest.approx(255 / 56, abs=1e-3)  # 56 pairs each way, one of them with the pixel


def test_each_channel_has_its_own_numbers():
    colour = replace(DIGITS, shape=(4, 6, 3), mean=(1.0,) * 3, std=(1.0,) * 3)
    mixed = np.stack([np.full((4, 6), value, np.uint8) for value in (0, 100, 255)], axis=-1)[np.newaxis]
    found = of(mixed, colour)
    assert len(found) == 21
    assert [found[f"mean {channel}"] for channel in range(3)] == [0, 100, 255]
    assert [found[f"bright {channel}"] for channel in range(3)] == [0, 0, 1]


def test_the_numbers_do_not_depend_on_the_neighbours_in_the_batch():
    images = raw(DIGITS, 9)
    together = summary.summarise(images, DIGITS)
    np.testing.assert_array_equal(together, np.concatenate([summary.summarise(one[None], DIGITS) for one in images]))


def test_a_single_row_of_pixels_has_no_neighbour_below():
    assert np.isfinite(summary.summarise(image((1, 1, 1), 9), replace(DIGITS, shape=(1, 1, 1)))).all()
