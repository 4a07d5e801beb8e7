"""User-provided tables: read, inferred and rejected in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.load import __main__ as load_stage
from pipelines.sources import csv
from pipelines.sources.tables import number_format
from tests.pipelines.workspace import data, write_params

NAN = np.nan
PLAIN = "size,colour,price\n1.5,red,10.5\n2,blue,11.25\n3,red,12\n"


def load(
    folder: Path, content: str | bytes, name: str = "houses.csv", target: str | None = "price", **given
) -> RawData:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return csv.load(data("csv", path=str(path), target=target, **given))


def load_parquet(folder: Path, frame: pa.Table, **given) -> RawData:
    parquet.write_table(frame, folder / "houses.parquet")
    return csv.load(data("csv", path=str(folder / "houses.parquet"), target="price", **given))


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


@pytest.mark.parametrize(
    "missing", ["", "NA", "N/A", "NaN", "null", "  ", " NA", "null ", "n/a", "#N/A", "None", "<NA>"]
)
def test_missing_values_are_nan_in_numbers_and_categories(tmp_path, missing):
    raw = load(tmp_path, f"a,b,price\n{missing},x,1.5\n2,{missing},2.5\n")
    np.testing.assert_array_equal(raw.train_inputs, [[NAN, 0], [2, NAN]])


def test_spaces_around_the_names_of_columns_do_not_count(tmp_path):
    raw = load(tmp_path, PLAIN.replace("size,colour,price", "size, colour , price"))
    assert (raw.table.features, raw.target) == (("size", "colour"), "price")


@pytest.mark.parametrize("words", [("true", "false"), ("TRUE", "False")])
def test_truth_values_are_two_categories(tmp_path, words):
    raw = load(tmp_path, f"sold,price\n{words[0]},1.5\n{words[1]},2.5\n")
    assert raw.table.categories == (("false", "true"),)
    np.testing.assert_array_equal(raw.train_inputs, [[1], [0]])


def test_truth_values_beside_0_and_1_are_four_categories(tmp_path):
    """As in a request, whose text "1" is not true."""
    raw = load(tmp_path, "sold,price\ntrue,1.5\n1,2.5\n0,3.5\nfalse,4.5\n")
    assert raw.table.categories == (("0", "1", "false", "true"),)


def test_missing_values_before_all_dates_do_not_hide_them(tmp_path):
    rows = "".join(f",{row},{row}.5\n" for row in range(number_format.HEAD))
    with pytest.raises(InputError, match=r"column 'day' holds dates \(2026-01-31\)"):
        load(tmp_path, f"day,size,price\n{rows}2026-01-31,1,1.5\n")


def test_selected_columns_keep_the_order_of_the_parameter(tmp_path):
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
    raw = load_parquet(tmp_path, frame)
    assert raw.table.categories == ((), ("blue", "red"), ("false", "true"))
    np.testing.assert_array_equal(raw.train_inputs, [[1.5, 1, 1], [NAN, 0, 0], [3, NAN, NAN]])


def test_missing_marks_in_the_text_of_parquet(tmp_path):
    frame = {"a": ["1.5", " NA", "2.5"], "b": ["x", "y", "null"], "price": [1.5, 2, 3]}
    raw = load_parquet(tmp_path, pa.table(frame))
    assert raw.table.categories == ((), ("x", "y"))
    np.testing.assert_array_equal(raw.train_inputs, [[1.5, 0], [NAN, 1], [2.5, NAN]])


@pytest.mark.parametrize("dtype", [pa.float16(), pa.float32(), pa.float64()])
def test_nan_in_parquet_is_missing(tmp_path, dtype):
    numbers = pa.array([1, NAN, 2], pa.float64()).cast(dtype)
    raw = load_parquet(tmp_path, pa.table({"a": numbers, "b": numbers, "price": [1.5, 2, 3]}), categories=("b",))
    assert raw.table.categories == ((), ("1", "2"))
    np.testing.assert_array_equal(raw.train_inputs, [[1, 0], [NAN, NAN], [2, 1]])


@pytest.mark.parametrize("key", ["group", "order"])
def test_nan_in_parquet_has_no_split(tmp_path, key):
    path = tmp_path / "houses.parquet"
    parquet.write_table(pa.table({"a": [1, 2, 3], "sold": [1.0, NAN, 2.0], "price": [1.5, 2, 3]}), path)
    with pytest.raises(InputError, match=rf"prepare\.{key}, column 'sold' is missing in 1 of 3 rows, first in 2"):
        csv.load(data("csv", path=str(path), target="price"), **{key: "sold"})


def test_nested_values_in_parquet_are_no_groups(tmp_path):
    path = tmp_path / "houses.parquet"
    parquet.write_table(pa.table({"a": [1, 2, 3], "sold": [[1], [2], [1]], "price": [1.5, 2, 3]}), path)
    with pytest.raises(InputError, match=r"prepare\.group, column 'sold' is of type list<.*>; allowed: numbers"):
        csv.load(data("csv", path=str(path), target="price"), group="sold")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_nan_in_parquet_is_no_target(tmp_path, task):
    frame = pa.table({"a": [1, 2, 3], "price": [1.0, NAN, 2.0]})
    with pytest.raises(InputError, match=r"'price'.* missing"):
        load_parquet(tmp_path, frame, task=task, categories=("price",) if task == "classification" else None)


def test_the_folders_of_a_parquet_file_are_no_columns(tmp_path):
    (tmp_path / "season=2020").mkdir()
    raw = load_parquet(tmp_path / "season=2020", pa.table({"a": [1, 2], "price": [1.5, 2.5]}))
    assert raw.table.features == ("a",)


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
        ([100000001, 100000002, 200000005], "auto", ("100000001", "100000002", "200000005")),
        ([0.1, 0.10000000001, 0.2], "classification", ("0.1", "0.10000000001", "0.2")),
    ],
)
def test_the_task_is_inferred_and_printed_unless_it_is_set(tmp_path, capsys, values, task, labels):
    raw = load(tmp_path, rows(values), target="y", task=task)
    assert raw.labels == labels
    found = [raw.labels[number] for number in raw.train_targets] if labels else raw.train_targets.tolist()
    assert [str(value) for value in found] == [str(value) if labels else str(float(value)) for value in values]
    output = capsys.readouterr().out
    assert ("target 'y': " in output) == (task == "auto")
    if task == "auto":
        assert ("classification" if labels else "regression") in output


def test_numbers_that_float32_does_not_distinguish_are_reported(tmp_path):
    numbers = "\n".join(f"{100000001 + row},{row / 7},{300000001 + row}" for row in range(40))
    raw = load(tmp_path, f"a,b,price\n{numbers}\n")
    words = (
        "holds 40 different numbers, of which float32 distinguishes {}; "
        "subtract a common offset, or list it in data.categories"
    )
    assert raw.notes == (f"column 'a' {words.format(6)}", f"column 'price' {words.format(2)}")


def test_a_few_texts_among_numbers_are_reported(tmp_path, monkeypatch, capsys):
    (tmp_path / "houses.csv").write_text("number,price\n12,1.5\n12a,2.5\n14,3.5\n,4.5\n")
    changes = {"data.source": "csv", "data.path": "houses.csv", "data.target": "price"}
    write_params(tmp_path, changes)
    monkeypatch.chdir(tmp_path)
    load_stage.main()
    words = "note: column 'number' holds '12a' in row 2, while 2 of 3 values are numbers; it is read as categories"
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("values", [["a1", "2b", "3"], ["x", "y", "1", "2e"], ["A1", "A2", "A3"]])
def test_codes_of_which_few_are_numbers_are_categories(tmp_path, values):
    assert load(tmp_path, rows(values), target="x", task="regression").notes == ()


def test_a_class_for_nearly_every_row_is_a_warning(tmp_path, capsys):
    content = "x,y\n" + "".join(f"{row},EUR {row}\n" for row in range(40))
    load(tmp_path, content, target="y", categories=("y",))
    assert "warning: target 'y' has 40 classes in 40 rows; for a regression it must hold" in capsys.readouterr().out
    load(tmp_path, content, target="y")
    assert "warning" not in capsys.readouterr().out


MIXED = [*range(11), "?", "", *range(11)]
REFUSED = {
    "no target named": (PLAIN, {"target": None}, "data.target = null: csv needs it; allowed: the name of a column"),
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
    "nothing but the target": ("price\n1.5\n2.5\n", {}, "no column except the target 'price'"),
    "a column all missing": ("a,price\n,1.5\nNA,2.5\n", {}, "column 'a': all 2 values are missing; exclude it"),
    "two columns of one name": ("a,a,price\n1,2,3\n", {}, "column 'a' occurs 2 times; allowed: each name once"),
    "a column without a name": (",a,price\n0,1,2.5\n", {}, "column 1 has no name"),
    "infinite": ("a,price\n1,1.5\ninf,2.5\n", {}, "column 'a', row 2: inf; allowed: finite numbers"),
    "beyond float32": ("a,price\n1,1.5\n-1e39,2.5\n", {}, "column 'a', row 2: -1e.39; allowed: finite numbers"),
    "dates": ("a,price\n2026-01-31,1.5\n2026-02-01,2.5\n", {}, r"column 'a' holds dates \(2026-01-31\); exclude it"),
    "dates with a zone": (
        "a,price\n2026-01-31T00:00:00Z,1.5\n2026-02-01,2.5\n",
        {},
        "column 'a' holds dates .2026-01-31T00:00:00Z.; ",
    ),
    "dates to the nanosecond": ("a,price\n2026-01-31 00:00:00.123456789+01:00,1.5\n,2\n", {}, "'a' holds dates"),
    "dates as people write them": ("a,price\n12/31/2020,1.5\n1.2.2021,2.5\n", {}, r"'a' holds dates \(12/31/2020\)"),
    "a target of dates": (rows(["2026-01-31"]), {"target": "y"}, "'y' holds dates .*; choose another data.target$"),
    "stray text": (
        rows(MIXED),
        {"target": "x"},
        r"column 'y': '\?' in row 12, while 22 of 23 values are numbers; allowed: .*; or exclude it with data.features",
    ),
    "stray text in a target": (rows(MIXED), {"target": "y"}, "'y': '.*; or choose another data.target"),
    "numbers too large for classes": (
        rows([2**53 + 1, 1]),
        {"target": "y"},
        r"'y' holds 9007199254740992; allowed as a class: below 2\^53, or text",
    ),
    "a name of nothing but space": ("a, ,price\n1,2,3\n", {}, "column 2 has no name"),
    "names that differ by space": ("a,a ,price\n1,2,3\n", {}, "column 'a' occurs 2 times"),
    "a row too long": ("a,price\n1,2\n3,4,5\n", {}, "columns in row 2 under the header: 3, in the header: 2"),
    "a row too short": ("a,price\n1,2\n3\n", {}, "columns in row 2 under the header: 1, in the header: 2"),
    "empty": ("", {}, "the file is empty"),
    "a header only": ("a,price\n", {}, "no rows under the header"),
    "not UTF-8": ("a,price\nü,2\n".encode("latin-1"), {}, "not utf-8: byte 0xfc at position 8; set data.encoding"),
    "a header not UTF-8": (
        "ü,price\n1,2\n".encode("latin-1"),
        {},
        "not utf-8: byte 0xfc at position 0; set data.encoding",
    ),
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
        ("data", "data.path = data; allowed: a file that ends in"),
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("a.xlsx", "a.xlsx; allowed: a file that"),
    ],
)
def test_a_file_that_is_not_there_is_refused_by_name(path, words):
    with pytest.raises(InputError, match=words):
        csv.find(data("csv", path=path, target="y"))


def test_broken_parquet_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"Parquet magic bytes .*; allowed: a complete Parquet file") as caught:
        load(tmp_path, b"no parquet at all", "houses.parquet")
    assert "\n" not in str(caught.value)


def test_a_broken_page_of_parquet_is_one_line_with_its_file(tmp_path):
    parquet.write_table(pa.table({"a": [1, None, 3], "price": [1.5, 2, 3]}), tmp_path / "whole.parquet")
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    content[8:30] = b"\xff" * 22
    with pytest.raises(InputError, match=r"houses\.parquet: .*; allowed: a complete Parquet file") as caught:
        load(tmp_path, bytes(content), "houses.parquet")
    assert "\n" not in str(caught.value)


NUMBERS = pa.array([1.5, 2, 3])


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pa.table([NUMBERS] * 3, names=["a", "a", "price"]), "column 'a' occurs 2 times; allowed: each name once"),
        (pa.table({"a": pa.nulls(3, pa.timestamp("us")), "price": NUMBERS}), "column 'a': all 3 values are missing"),
        (
            pa.table({"a": NUMBERS, "price": NUMBERS, "__index_level_0__": NUMBERS}),
            "column '__index_level_0__' is the index of a pandas DataFrame; write the file with index=False",
        ),
    ],
    ids=["two columns of one name", "dates that are all missing", "an index of pandas"],
)
def test_what_only_parquet_has_is_refused_by_name(tmp_path, frame, words):
    with pytest.raises(InputError, match=rf"houses\.parquet: {words}"):
        load_parquet(tmp_path, frame)
