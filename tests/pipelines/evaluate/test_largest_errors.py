import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from models.spec import UNKNOWN, DataSpec
from pipelines.artifacts import json_object
from pipelines.evaluate import largest_errors
from pipelines.evaluate.predictions import Predictions


def spec(task="classification", kind="tabular", shape=(2,), dtype="float32", features=("size", "colour")):
    labels = ("no", "yes") if task == "classification" else ()
    columns = (1.0,) * len(features) if kind == "tabular" else (1.0,)
    categories = ((), ("red", "green")) if kind == "tabular" else ()
    fill = (None,) * len(features)
    return DataSpec("made", task, kind, shape, dtype, labels, "sold", features, columns, columns, categories, fill)


ROWS = np.array([[1.5, 0], [np.nan, 1], [2.0, UNKNOWN], [3.0, 1]], np.float32)


def test_misclassified_rows_by_confidence_with_names_and_missing_values():
    outputs = np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], np.float32)
    found = largest_errors.find(Predictions(spec(), ROWS, np.array([0, 0, 0, 0]), outputs))
    assert (found["examples"], found["misclassified"]) == (4, 3)
    assert [(one["row"], one["predicted"], one["actual"]) for one in found["worst"]] == [
        (1, "yes", "no"), (2, "yes", "no"), (0, "yes", "no"),
    ]  # fmt: skip
    assert [one["confidence"] for one in found["worst"]] == pytest.approx([0.9, 0.8, 0.6])
    assert [one["features"] for one in found["worst"]] == [
        {"size": None, "colour": "green"}, {"size": 2.0, "colour": "unknown"}, {"size": 1.5, "colour": "red"},
    ]  # fmt: skip


def test_values_of_a_regression_by_difference(tmp_path):
    outputs = np.array([[1.0], [2.0], [9.0], [-4.0]], np.float32)
    found = largest_errors.find(Predictions(spec("regression"), ROWS, np.float32([1, 3, 2, 0]), outputs))
    assert [(one["row"], one["predicted"], one["actual"]) for one in found["worst"]] == [
        (2, 9.0, 2.0), (3, -4.0, 0.0), (1, 2.0, 3.0), (0, 1.0, 1.0),
    ]  # fmt: skip
    assert found["misclassified"] is None
    json_object.write(found, tmp_path / "errors.json")
    assert json_object.read(tmp_path / "errors.json") == found


@pytest.mark.parametrize(("shape", "size"), [((8, 8, 1), (8, 8)), ((200, 100, 3), (34, 67))])
def test_an_image_is_kept_as_a_small_png(shape, size):
    images = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(np.uint8)
    outputs = np.tile(np.float32([0.1, 0.9]), (20, 1))
    made = spec(kind="image", shape=shape, dtype="uint8", features=())
    found = largest_errors.find(Predictions(made, images, np.zeros(20, np.int64), outputs))
    assert len(found["worst"]) == largest_errors.MAX_EXAMPLES
    with Image.open(io.BytesIO(b64decode(found["worst"][0]["image"]))) as image:
        assert image.size == size
        step = -(-max(shape[:2]) // largest_errors.MAX_SIDE)
        np.testing.assert_array_equal(np.asarray(image).reshape(*size[::-1], -1), images[0, ::step, ::step])


def test_there_may_be_no_error():
    made = Predictions(spec(), ROWS, np.array([1, 1]), np.float32([[0.1, 0.9], [0.1, 0.9]]))
    assert largest_errors.find(made) == {"examples": 2, "misclassified": 0, "worst": []}
