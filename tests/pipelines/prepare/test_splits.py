"""Splits by group, by equal examples and by order: nothing that belongs together is divided."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.errors import InputError
from pipelines.artifacts import raw_data
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config import params
from pipelines.prepare import grouping, leaks, splits
from pipelines.prepare.splits import SplitRows
from pipelines.sources import csv
from pipelines.sources.tables import split_columns
from tests.pipelines.workspace import data, read_split, run_prepare, write_params

COUNT = 400
SHARES = {"validation": 0.2, "test": 0.3}


def make_raw(**changes: Any) -> RawData:
    """A column with the number of the row, and two classes of which the second has a quarter of the rows."""
    numbers = np.arange(COUNT, dtype=np.float32)[:, None]
    targets = (np.random.default_rng(0).permutation(COUNT) % 4 == 0).astype(np.int64)
    table = Table(("number",), ((),), missing=True)
    return replace(RawData("made", ("no", "yes"), numbers, targets, None, None, "memory", "late", table), **changes)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(folder: Path, raw: RawData, **changes: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The report and the rows of each split."""
    write_params(folder, {f"prepare.{name}": value for name, value in {**SHARES, **changes}.items()})
    report = run_prepare(raw)
    return report, {name: read_split(name)[0][:, 0].astype(int) for name in splits.NAMES}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_group_is_in_two_splits_and_each_class_keeps_its_proportion(workspace: Path, seed: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 60, COUNT)
    raw = make_raw(groups=groups)
    report, rows = prepared(workspace, raw, seed=seed, group="customer")
    assert sorted(np.concatenate(list(rows.values()))) == list(range(COUNT))
    assert sum(len(set(groups[part])) for part in rows.values()) == len(set(groups))
    assert report["shared_groups"] == {"train/validation": 0, "train/test": 0, "validation/test": 0}
    for name, share in (("train", 0.5), ("validation", 0.2), ("test", 0.3)):
        for label in (0, 1):
            wanted = share * np.sum(raw.train_targets == label)
            assert abs(np.sum(raw.train_targets[rows[name]] == label) - wanted) <= 0.1 * wanted + 3


def test_without_the_parameter_groups_are_divided(workspace: Path) -> None:
    groups = np.random.default_rng(0).integers(0, 60, COUNT)
    _, rows = prepared(workspace, make_raw())
    assert set(groups[rows["train"]]) & set(groups[rows["test"]])


def test_a_group_of_half_of_the_rows_goes_to_the_split_with_room_for_it(workspace: Path) -> None:
    groups = np.concatenate([np.zeros(200, np.int64), np.arange(1, 201)])
    _, rows = prepared(workspace, make_raw(groups=groups), group="customer")
    assert set(range(200)) <= set(rows["train"])
    assert [len(rows[name]) for name in splits.NAMES] == pytest.approx([200, 80, 120], abs=4)


@pytest.mark.parametrize(("together", "shared"), [(True, False), (False, True)])
def test_equal_examples_stay_together_if_configured(workspace: Path, together: bool, shared: bool) -> None:
    raw = make_raw()
    raw = replace(raw, train_inputs=raw.train_inputs // 4)  # each row four times
    report, rows = prepared(workspace, raw, group_duplicates=together)
    assert any(report["duplicates"].values()) is shared
    assert sum(map(len, rows.values())) == COUNT


def test_equal_examples_join_their_groups() -> None:
    raw = make_raw(train_inputs=np.array([[0], [1], [1], [2], [3]], np.float32), train_targets=np.zeros(5, np.int64))
    raw = replace(raw, groups=np.array([7, 7, 8, 8, 9]))
    assert grouping.units(raw, duplicates=False).tolist() == [0, 0, 1, 1, 2]
    assert grouping.units(raw, duplicates=True).tolist() == [0, 0, 0, 0, 1]


def test_the_first_rows_train_and_the_last_ones_test(workspace: Path) -> None:
    times = np.random.default_rng(0).permutation(COUNT).astype(np.float64)
    report, rows = prepared(workspace, make_raw(order=times), order="time")
    assert [len(rows[name]) for name in splits.NAMES] == [200, 80, 120]
    assert report["order"] == {"train": [0, 199], "validation": [200, 279], "test": [280, 399]}
    assert times[rows["train"]].max() < times[rows["validation"]].min()


def test_rows_of_the_same_time_are_not_divided(workspace: Path) -> None:
    days = np.arange(COUNT) // 30  # 13 days of 30 rows and one of 10
    report, rows = prepared(workspace, make_raw(order=days.astype(np.float64)), order="day")
    assert report["order"] == {"train": [0, 6], "validation": [7, 9], "test": [10, 13]}
    assert [len(rows[name]) for name in splits.NAMES] == [210, 90, 100]


def test_a_class_that_ends_before_the_test_split_is_an_error(workspace: Path) -> None:
    raw = make_raw(order=np.arange(COUNT, dtype=np.float64), train_targets=(np.arange(COUNT) < 100).astype(np.int64))
    with pytest.raises(InputError, match=r"none of the 100 examples of class 'yes' is left for the validation split"):
        splits.split(raw, prepare_config(workspace, order="time"))


@pytest.mark.parametrize(
    ("columns", "changes", "words"),
    [
        ({"groups": np.arange(COUNT) % 2}, {"group": "region"}, r"prepare\.group: 2 groups; allowed: 3 or more"),
        ({"order": np.zeros(COUNT)}, {"order": "time"}, r"prepare\.order: 1 distinct value; allowed: 3 or more"),
        (
            {"train_inputs": np.zeros((COUNT, 1), np.float32)},
            {"group_duplicates": True},
            r"prepare\.group_duplicates: 1 distinct example; allowed: 3 or more",
        ),
        (
            {"order": np.maximum(np.arange(COUNT) - 397, 0)},
            {"order": "time"},
            r"prepare\.validation: none of the 400 rows is left for the validation split",
        ),
    ],
)
def test_rows_of_a_regression_that_cannot_fill_the_splits_are_an_error(
    workspace: Path, columns: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    raw = make_raw(labels=(), train_targets=np.arange(COUNT, dtype=np.float32), **columns)
    with pytest.raises(InputError, match=words):
        splits.split(raw, prepare_config(workspace, **changes))


def prepare_config(folder: Path, **changes: Any) -> Any:
    values = {f"prepare.{key}": value for key, value in {**SHARES, **changes}.items()}
    return params.read(write_params(folder, values)).prepare


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": np.zeros(COUNT, np.int64)}, r"prepare\.group: rows of one group are in two splits"),
        ({"order": np.zeros(COUNT)}, r"prepare\.order: the splits overlap"),
    ],
)
def test_a_leak_is_an_error(changes: dict[str, Any], words: str) -> None:
    raw = make_raw(**changes)
    halves = {"train": np.arange(200), "validation": np.arange(200, 400)}
    parts = {name: SplitRows(raw.train_inputs, raw.train_targets, rows) for name, rows in halves.items()}
    with pytest.raises(InputError, match=words):
        leaks.inspect(parts, raw)


TABLE = "customer,day,size,price\n" + "".join(f"c{row % 3},2026-01-{31 - row:02},{row},{row}.5\n" for row in range(12))


def load_table(folder: Path, text: str = TABLE, **columns: str) -> RawData:
    (folder / "sales.csv").write_text(text, "utf-8")
    return csv.load(data("csv", path=str(folder / "sales.csv"), target="price", features=("size",)), **columns)


def test_columns_of_a_table_become_groups_and_order_and_are_kept_with_the_raw_data(tmp_path: Path) -> None:
    raw = load_table(tmp_path, group="customer", order="day")
    raw_data.write(raw, tmp_path)
    found = raw_data.read(tmp_path)
    assert found.groups is not None
    assert found.order is not None
    assert found.groups.tolist() == [0, 1, 2] * 4
    assert np.diff(found.order).max() < 0


def test_the_columns_are_no_features_unless_named(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(TABLE, "utf-8")
    config = data("csv", path=str(tmp_path / "sales.csv"), target="price")
    table = csv.load(config, group="customer", order="day").table
    assert table is not None
    assert table.features == ("size",)
    table = csv.load(config.model_copy(update={"features": ("size", "customer")}), group="customer").table
    assert table is not None
    assert table.features == ("size", "customer")


@pytest.mark.parametrize(
    ("times", "ascending"),
    [
        (["2026-01-31 10:00:01", "2026-01-31 10:00:02"], True),
        (["2026-01-31T10:00:00", "2026-01-30T11:00:00"], False),
        (["31.01.2026", "01.02.2026"], True),
        (["2026-01-31T12:00:00+02:00", "2026-01-31T11:00:00Z"], True),
        (["2026-01-31 09:00:00.123456789", "2026-01-31 10:00:00.123456789"], True),
        (["2026-01-31T10:00:00+00:00", "2026-01-31T10:00:00.1234567Z"], True),
        (["31.01.2026 10:00", "01.02.2026 09:00"], True),
        (["10", "9"], False),
        (["31. Januar 2026", "1. Februar 2026"], True),
    ],
)
def test_order_is_by_time_or_number(tmp_path: Path, times: list[str], ascending: bool) -> None:
    order = load_table(tmp_path, f"day,size,price\n{times[0]},1,1.5\n{times[1]},2,2.5\n", order="day").order
    assert order is not None
    assert (order[0] < order[1]) is np.bool_(ascending)


@pytest.mark.parametrize("other", ["2026-01-31 09:00Z", "2026-01-31", "2026-01-31 09:00 AM", "31.01.2026 09:00"])
def test_order_by_times_that_are_not_of_one_notation_is_an_error(tmp_path: Path, other: str) -> None:
    """Not an order by day, which is coarser."""
    times = "2026-01-31 10:00" if other != "2026-01-31" else "2026-01-31 10:00Z"
    with pytest.raises(
        InputError, match=r"column 'day' holds '2026-01-31 10:00Z?' in row 1, and not all values are times of"
    ):
        load_table(tmp_path, f"day,size,price\n{times},1,1.5\n{other},2,2.5\n", order="day")


def test_order_is_by_times_finer_than_microseconds() -> None:
    times = pa.chunked_array([pa.array([2_000_000_001, 1_000_000_001], pa.timestamp("ns"))])
    order = split_columns.order(Path("sales.parquet"), "day", times, data("csv", target="price"), "point")
    assert order.tolist() == [2e6, 1e6]


def test_order_by_a_time_of_day_is_an_error() -> None:
    times = pa.chunked_array([pa.array([1, 2], pa.time32("s"))])
    with pytest.raises(InputError, match=r"column 'day' is of type time32\[s\]; allowed: numbers or dates"):
        split_columns.order(Path("sales.parquet"), "day", times, data("csv", target="price"), "point")


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        (TABLE, {"group": "client"}, r"prepare\.group = 'client'; allowed: a column of .*: customer, day, size, price"),
        (
            TABLE,
            {"order": "customer"},
            r"prepare\.order, column 'customer' holds text such as 'c0'; allowed: numbers or",
        ),
        (
            "time,size,price\n9:30,1,1.5\n",
            {"order": "time"},
            "'time' holds times such as '9:30'; allowed: numbers or dates",
        ),
        (TABLE.replace("c1,", ",", 1), {"group": "customer"}, r"is missing in 1 of 12 rows, first in 2; allowed: none"),
    ],
)
def test_unusable_columns_are_refused(tmp_path: Path, text: str, columns: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_table(tmp_path, text, **columns)
