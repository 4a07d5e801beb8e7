"""A person's own table: what is read, what is inferred, and what is refused in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from models.errors import InputError
from pipelines.sources import csv
from pipelines.sources.raw import RawData
from tests.pipelines.workspace import data

NAN = np.nan
PLAIN = "size,colour,price\n1.5,red,10.5\n2,blue,11.25\n3,red,12\n"


def load(
    folder: Path, content: str | bytes, name: str = "houses.csv", target: str | None = "price", **given
) -> RawData:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return csv.load(data("csv", path=str(path), target=target, **given))


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("red", '"red"'),
        PLAIN.replace("red", " red "),
        PLAIN + "\n\n",
        PLAIN.rstrip("\n"),
    ],
    ids=["plain", "byte order mark", "CRLF", "quoted", "spaces", "empty lines", "no end of line"],
)
def test_the_same_table_however_it_is_written(tmp_path, content):
    raw = load(tmp_path, content)
    assert (raw.name, raw.target, raw.labels, raw.origin) == ("houses", "price", (), str(tmp_path / "houses.csv"))
    assert raw.table.features == ("size", "colour")
    assert raw.table.categories == ((), ("blue", "red"))
    assert raw.table.missing
    assert raw.train_inputs.dtype == raw.train_targets.dtype == np.float32
    np.testing.assert_array_equal(raw.train_inputs, [[1.5, 1], [2, 0], [3, 1]])
    np.testing.assert_array_equal(raw.train_targets, np.float32([10.5, 11.25, 12]))


def test_commas_and_lines_within_quotes_belong_to_the_value(tmp_path):
    raw = load(tmp_path, 'who,price\n"Smith, ""Al""\nJr",1.5\nJones,2.5\n')
    assert raw.table.categories == (("Jones", 'Smith, "Al"\nJr'),)


@pytest.mark.parametrize("missing", ["", "NA", "N/A", "NaN", "null", "  "])
def test_missing_values_are_nan_in_numbers_and_categories(tmp_path, missing):
    raw = load(tmp_path, f"a,b,price\n{missing},x,1.5\n2,{missing},2.5\n")
    np.testing.assert_array_equal(raw.train_inputs, [[NAN, 0], [2, NAN]])


@pytest.mark.parametrize("words", [("true", "false"), ("TRUE", "False")])
def test_truth_values_are_two_categories(tmp_path, words):
    raw = load(tmp_path, f"sold,price\n{words[0]},1.5\n{words[1]},2.5\n")
    assert raw.table.categories == (("false", "true"),)
    np.testing.assert_array_equal(raw.train_inputs, [[1], [0]])


def test_the_columns_that_are_asked_for_in_their_order(tmp_path):
    raw = load(tmp_path, "a,b,c,price\n1,2,3,1.5\n4,5,6,2.5\n", features=("c", "a"))
    assert raw.table.features == ("c", "a")
    np.testing.assert_array_equal(raw.train_inputs, [[3, 1], [6, 4]])


def test_tabs_and_parquet(tmp_path):
    assert load(tmp_path, PLAIN.replace(",", "\t"), "houses.tsv").table.features == ("size", "colour")
    columns = {
        "size": [1.5, None, 3.0],
        "colour": ["red", "blue", None],
        "sold": [True, False, None],
        "price": [1.5, 2, 3],
    }
    frame = pa.table(columns).set_column(1, "colour", pa.array(columns["colour"]).dictionary_encode())
    parquet.write_table(frame, tmp_path / "houses.parquet")
    raw = csv.load(data("csv", path=str(tmp_path / "houses.parquet"), target="price"))
    assert raw.table.categories == ((), ("blue", "red"), ("false", "true"))
    np.testing.assert_array_equal(raw.train_inputs, [[1.5, 1, 1], [NAN, 0, 0], [3, NAN, NAN]])


def rows(values) -> str:
    return "x,y\n" + "".join(f"{index},{value}\n" for index, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "task", "labels"),
    [
        (["no", "yes", "no"], "auto", ("no", "yes")),
        (["true", "false", "true"], "auto", ("false", "true")),
        ([3, 1, 2, 10], "auto", ("1", "2", "3", "10")),
        (range(21), "auto", ()),
        ([0.5, 1, 2], "auto", ()),
        ([0.5, 1, 2], "classification", ("0.5", "1", "2")),
        ([3, 1, 2], "regression", ()),
    ],
)
def test_the_task_is_inferred_and_told_unless_the_user_decides(tmp_path, capsys, values, task, labels):
    raw = load(tmp_path, rows(values), target="y", task=task)
    assert raw.labels == labels
    found = [raw.labels[number] for number in raw.train_targets] if labels else raw.train_targets.tolist()
    assert [str(value) for value in found] == [str(value) if labels else str(float(value)) for value in values]
    said = capsys.readouterr().out
    assert ("target 'y': " in said) == (task == "auto")
    if task == "auto":
        assert ("classification" if labels else "regression") in said


REFUSED = {
    "no target named": (PLAIN, {"target": None}, "data.target = null; allowed: a column of .*: size, colour, price"),
    "no such target": (PLAIN, {"target": "cost"}, "data.target = 'cost'; allowed: a column of .*size, colour, price"),
    "no such feature": (PLAIN, {"features": ("size", "age")}, "data.features: age; allowed: .* size, colour"),
    "the target as a feature": (PLAIN, {"features": ("price",)}, "data.features: price; allowed"),
    "text in a regression": (rows("ab"), {"target": "y", "task": "regression"}, "target 'y' holds text such as 'a'"),
    "target missing": (
        rows([1.5, "", 2.5, ""]),
        {"target": "y"},
        r"'y' is missing in 2 of 4 rows \(2, 4\); allowed: in",
    ),
    "one class": (rows("aaa"), {"target": "y"}, "target 'y' has one class, 'a'; allowed: two or more"),
    "nothing but the target": ("price\n1.5\n2.5\n", {}, "no column but the target 'price'"),
    "a column all missing": ("a,price\n,1.5\nNA,2.5\n", {}, "column 'a': all 2 values are missing; leave it out"),
    "two columns of one name": ("a,a,price\n1,2,3\n", {}, "column 'a' comes 2 times; allowed: each name once"),
    "a column without a name": (",a,price\n0,1,2.5\n", {}, "column 1 has no name"),
    "semicolons": ("a;price\n1;2\n", {}, "one column, 'a;price'; allowed: columns separated by commas"),
    "infinite": ("a,price\n1,1.5\ninf,2.5\n", {}, "column 'a', row 2: inf; allowed: finite numbers"),
    "beyond float32": ("a,price\n1,1.5\n-1e39,2.5\n", {}, "column 'a', row 2: -1e.39; allowed: finite numbers"),
    "dates": ("a,price\n2026-01-31,1.5\n2026-02-01,2.5\n", {}, r"column 'a' holds dates \(2026-01-31 .*leave it out"),
    "a row too long": ("a,price\n1,2\n3,4,5\n", {}, "Row #3: Expected 2 columns, got 3"),
    "a row too short": ("a,price\n1,2\n3\n", {}, "Row #3: Expected 2 columns, got 1"),
    "empty": ("", {}, "Empty CSV file"),
    "a header only": ("a,price\n", {}, "no rows under the header"),
    "not UTF-8": ("a,price\nü,2\n".encode("latin-1"), {}, "invalid UTF8 data.*in UTF-8"),
    "a header not UTF-8": ("ü,price\n1,2\n".encode("latin-1"), {}, "codec can't decode.*in UTF-8"),
    "too many categories": (
        rows(f"name{i}" for i in range(1001)),
        {"target": "x"},
        "'y': 1001 different texts such as",
    ),
}


@pytest.mark.parametrize(("content", "given", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, content, given, words):
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path, content, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (None, "data.path = null"),
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("a.xlsx", "a.xlsx; allowed: a file that"),
    ],
)
def test_a_file_that_is_not_there_is_refused_by_name(path, words):
    with pytest.raises(InputError, match=words):
        csv.find(data("csv", path=path, target="y"))


def test_broken_parquet_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"Parquet magic bytes .*; allowed: a whole Parquet file") as caught:
        load(tmp_path, b"no parquet at all", "houses.parquet")
    assert "\n" not in str(caught.value)
