"""Content of the embedded and generated tables."""

import numpy as np
import pytest

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.sources import SOURCES
from pipelines.load import table_summary
from pipelines.sources import by_name
from tests.pipelines.workspace import data

SHAPES = {  # rows, columns, classes (0: a regression)
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, 0),
    "line": (2000, 1, 0),
    "spirals": (2000, 2, 2),
    "circles": (2000, 2, 2),
    "moons": (2000, 2, 2),
    "xor": (2000, 2, 2),
}


def load(source: str) -> RawData:
    return by_name.module(data(source)).load(data(source))


@pytest.mark.parametrize("source", SHAPES)
def test_every_source_has_the_documented_shape_and_is_reproducible(source):
    raw, again = load(source), load(source)
    rows, width, classes = SHAPES[source]
    assert raw.train_inputs.shape == (rows, width)
    assert raw.train_inputs.dtype == np.float32
    assert raw.train_targets.dtype == (np.int64 if classes else np.float32)
    assert (len(raw.labels), len(raw.table.features)) == (classes, width)
    assert np.isfinite(raw.train_inputs).all()
    assert not raw.table.missing
    assert raw.test_inputs is None
    assert SOURCES[source] == ("tabular", "classification" if classes else "regression", (), classes or None)
    np.testing.assert_array_equal(raw.train_inputs, again.train_inputs)
    np.testing.assert_array_equal(raw.train_targets, again.train_targets)


@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("given", [{"path": "x.csv"}, {"target": "y"}, {"task": "regression"}])
def test_what_a_source_does_not_use_is_refused(source, given):
    (name,) = given
    with pytest.raises(InputError, match=rf"data\.{name} = .*allowed: "):
        by_name.module(data(source)).find(data(source, **given))


def test_the_line_is_a_line():
    raw = load("line")
    slope, intercept = np.polyfit(raw.train_inputs[:, 0], raw.train_targets, 1)
    assert (slope, intercept) == (pytest.approx(2, abs=0.01), pytest.approx(1, abs=0.01))


def test_diabetes_is_in_the_units_it_was_measured_in():
    raw = load("diabetes")
    age = raw.train_inputs[:, raw.table.features.index("age")]
    assert (age.min(), age.max()) == (19, 79)


def test_each_column_has_a_line_and_unusable_ones_a_warning():
    count = 40
    names = tuple(f"name {number}" for number in range(count))
    table = Table(("size", "colour", "same", "row", "name"), ((), ("blue", "red"), (), (), names), missing=True)
    places = np.arange(count, dtype=np.float32)
    rows = np.stack([np.sqrt(places), places % 2, np.ones(count), places, places], axis=1).astype(np.float32)
    rows[3, :2] = np.nan
    text = table_summary.summary(rows, table)
    lines = text.splitlines()
    assert len(lines) == 2 + 5 + 3
    assert lines[2].split() == ["size", "numbers", "1", "0", "to", "6.245"]
    assert lines[3].split() == ["colour", "categories", "1", "2:", "blue,", "red"]
    assert "note: column 'same' holds the same value in every row" in lines
    assert "note: column 'row' numbers the rows; exclude it with data.features" in lines
    assert (
        "note: column 'name' has 40 categories in 40 rows, like an identifier; exclude it with data.features" in lines
    )
