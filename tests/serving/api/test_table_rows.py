"""Table rows as objects: category names as text, null where a value is missing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.api import table_rows
from serving.inference import champion
from tests.serving.api.test_inference_protocol import INFER, binary, tensor
from tests.serving.bundles import HOUSES, IRIS, weights, write
from tests.serving.conftest import Local

Make = Callable[..., Local]
NAN = np.nan
GOOD = {
    "all there": ({"size": 120, "colour": "red", "sold": "true"}, [120, 2, 1]),
    "in another order": ({"sold": "false", "colour": "blue", "size": 0.5}, [0.5, 0, 0]),
    "truth values": ({"size": 1, "colour": "blue", "sold": True}, [1, 0, 1]),
    "as a CSV file has them": ({"size": 1, "colour": " blue ", "sold": "TRUE"}, [1, 0, 1]),
    "another category in capitals": ({"size": 1, "colour": "BLUE", "sold": "False"}, [1, -1, 0]),
    "missing": ({"size": None, "colour": None, "sold": None}, [NAN, NAN, NAN]),
    "an unknown category": ({"size": 1, "colour": "mauve", "sold": ""}, [1, -1, -1]),
}
REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "text among numbers": (
        {"size": "big"},
        r"inputs\[1\]\['size'\]: found text 'big'; allowed: a finite .*null",
    ),
    "a number as text": ({"size": "120"}, r"inputs\[1\]\['size'\]: found text '120'; allowed: a finite number"),
    "a truth value among numbers": ({"size": True}, r"inputs\[1\]\['size'\]: found true; allowed: a finite number"),
    "beyond float32": ({"size": 1e39}, r"inputs\[1\]\['size'\]: found the number 1e\+39"),
    "a number among categories": ({"colour": 2}, r"\['colour'\]: found the number 2; allowed: text such as 'blue', or"),
    "a truth value among other categories": (
        {"colour": True},
        r"\['colour'\]: found true; allowed: text such as 'blue'",
    ),
    "a list": ({"colour": ["red"]}, r"\['colour'\]: found a list of 1; allowed: text such as 'blue', or null"),
    "an unknown feature": ({"age": 1}, r"inputs\[1\]: unknown features: age$"),
}


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    """A champion for a table with categories and missing values."""
    return write(tmp_path / "champion", weights(HOUSES))


def test_a_list_with_the_name_of_a_category_is_rejected_with_the_other_form(
    houses: Path, tmp_path: Path, local: Make
) -> None:
    rejected = local(houses).post("/predict", json={"inputs": [[120, "red", "true"]]})
    expected = "inputs[0][1]: found text of 3; allowed: finite numbers within float32; "
    assert rejected.json()["error"] == expected + "rows with the names of categories are objects by column name"
    iris = write(tmp_path / "iris", weights(IRIS))
    rejected = local(iris).post("/predict", json={"inputs": [[1, 2, 3, "4"]]})
    assert rejected.json()["error"] == "inputs[0][3]: found text of 1; allowed: finite numbers within float32"


@pytest.mark.parametrize(("row", "raw"), GOOD.values(), ids=GOOD)
def test_a_row_becomes_raw_columns(houses: Path, local: Make, row: dict[str, Any], raw: list[float]) -> None:
    expected = np.array([raw], np.float32)
    np.testing.assert_array_equal(table_rows.parse([row], HOUSES), expected)
    response = local(houses).post("/predict", json={"inputs": [row]})
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["target"] == "price"
    found = response.json()["predictions"][0]["value"]
    assert found == pytest.approx(weights(HOUSES).expected(expected)[0, 0], rel=1e-5)


def test_missing_and_unknown_values_are_counted_by_column(houses: Path, local: Make) -> None:
    asked = local(houses)
    rows_ = [GOOD[name][0] for name in ("all there", "missing", "an unknown category", "an unknown category")]
    assert asked.post("/predict", json={"inputs": rows_}).status_code == 200
    found = set(re.findall(r"^tandem_unfamiliar_values_total\{(.*)\} (\S+)$", asked.get("/metrics").text, re.MULTILINE))
    assert found == {
        ('feature="size",reason="missing"', "1.0"),
        ('feature="colour",reason="missing"', "1.0"),
        ('feature="colour",reason="unknown"', "2.0"),
        ('feature="sold",reason="missing"', "1.0"),
        ('feature="sold",reason="unknown"', "2.0"),
    }


def test_missing_and_unknown_features_are_named_apart(houses: Path, local: Make) -> None:
    response = local(houses).post("/predict", json={"inputs": [{"size": 1, "age": 2, "floor": 3}]})
    assert response.json()["error"] == "inputs[0]: missing features: colour, sold; unknown features: age, floor"


@pytest.mark.parametrize(("wrong", "message"), REJECTED.values(), ids=REJECTED)
def test_errors_name_row_column_and_value(houses: Path, local: Make, wrong: dict[str, Any], message: str) -> None:
    good = GOOD["all there"][0]
    response = local(houses).post("/predict", json={"inputs": [good, good | wrong]})
    assert response.status_code == 400
    assert re.search(message, response.json()["error"]), response.text


def test_null_is_rejected_where_no_value_may_be_missing(iris: Path, local: Make) -> None:
    row = dict.fromkeys(IRIS.features, 1.0) | {"sepal width": None}
    response = local(iris).post("/predict", json={"inputs": [row]})
    assert response.status_code == 400
    assert re.search(
        r"\['sepal width'\]: found null; allowed: a finite number within float32$", response.json()["error"]
    )


@pytest.mark.parametrize(("value", "status"), [(NAN, 200), (np.inf, 400)])
def test_tensors_may_have_nan_where_values_may_be_missing(houses: Path, local: Make, value: float, status: int) -> None:
    inputs = np.array([[value, 1, 0]], np.float32)
    assert local(houses).post(INFER, **binary(inputs, HOUSES)).status_code == status


def test_rows_round_trip() -> None:
    row = {"size": 120.0, "colour": "red", "sold": None}
    assert table_rows.write(table_rows.parse([row], HOUSES), HOUSES) == [row]


def test_the_document_names_categories_and_nullable_features(houses: Path, local: Make) -> None:
    components = local(houses).get("/docs.json").json()["components"]["schemas"]
    assert components["PredictRequest"]["properties"]["inputs"]["items"] == {"$ref": "#/components/schemas/Row"}
    columns = components["Row"]["properties"]
    assert all(column["nullable"] for column in columns.values())
    assert [columns[name].get("type") for name in HOUSES.features] == ["number", "string", None]
    assert columns["sold"]["anyOf"] == [{"type": "boolean"}, {"type": "string"}]
    assert "blue, green, red" in columns["colour"]["description"]


def test_a_stored_example_may_have_missing_values(tmp_path: Path) -> None:
    outputs = weights(HOUSES).expected(np.array([[NAN, 1, NAN]], np.float32))
    example = {"inputs": [[None, 1, None]], "outputs": outputs.tolist()}
    loaded = champion.load(write(tmp_path, weights(HOUSES), example=example), "cpu")
    np.testing.assert_array_equal(loaded.example, [[NAN, 1, NAN]])


CODES = {
    "beyond the last": (
        [1, 5, 0],
        "inputs[0][1] ('colour'): found the number 5; allowed: a code from 0 to 2, or -1 for ",
    ),
    "no whole number": ([1, 0.5, 0], "inputs[0][1] ('colour'): found the number 0.5; allowed: "),
    "far too large": ([1, 0, 1e30], "inputs[0][2] ('sold'): found the number 1e+30; allowed: a code from 0 to 1, "),
    "negative": ([1, -2, 0], "inputs[0][1] ('colour'): found the number -2; allowed: "),
}


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("form", ["rows", "tensor", "raw data"])
def test_codes_of_no_category_are_rejected(houses: Path, local: Make, name: str, form: str) -> None:
    row, reason = CODES[name]
    assert _send(local(houses), row, form, reason) == 400


@pytest.mark.parametrize("form", ["rows", "tensor", "raw data"])
def test_codes_of_categories_are_accepted(houses: Path, local: Make, form: str) -> None:
    assert _send(local(houses), [1e30, 2, -1], form) == 200


def _send(service: Local, row: list[float], form: str, reason: str = "") -> int:
    """The status of the response to a row of numbers, whose text contains the reason."""
    inputs = np.array([row], np.float32)
    requests = {
        "rows": ("/predict", {"json": {"inputs": [row]}}),
        "tensor": (INFER, {"json": {"inputs": [tensor(inputs, HOUSES, data=row)]}}),
        "raw data": (INFER, binary(inputs, HOUSES)),
    }
    path, options = requests[form]
    response = service.post(path, **options)
    assert reason in (response.json()["error"] if reason else "")
    return response.status_code
