"""Tables in `prepare`: split, statistics of the training split, report, and validation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.spec import DataSpec
from pipelines.artifacts import npy, paths
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.prepare import splits
from tests.pipelines.workspace import read_split, run_prepare, write_params

NAN = np.nan
COUNT = 60


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_params(tmp_path, {"prepare.validation": 0.2, "prepare.test": 0.3})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_raw(labels: tuple[str, ...] = ()) -> RawData:
    """A column of numbers and one of three categories, both with missing values; no two rows are equal."""
    random = np.random.default_rng(0)
    inputs = np.stack([random.normal(100, 20, COUNT), np.arange(COUNT) % 3], axis=1).astype(np.float32)
    inputs[::7, 0] = inputs[1::9, 1] = NAN
    numbers = random.normal(1000, 250, COUNT).astype(np.float32)
    targets = np.arange(COUNT) % len(labels) if labels else numbers
    table = Table(("size", "colour"), ((), ("blue", "green", "red")), missing=True)
    return RawData("houses", labels, inputs, targets, None, None, "memory", "price", table)


def lines(inputs: np.ndarray, targets: np.ndarray) -> list[str]:
    return [f"{row} {target}" for row, target in zip(inputs.tolist(), targets.tolist(), strict=True)]


@pytest.mark.parametrize("labels", [(), ("cheap", "dear")])
def test_every_row_is_in_exactly_one_split_with_its_target(labels: tuple[str, ...]) -> None:
    raw = make_raw(labels)
    report = run_prepare(raw)
    assert report["examples"] == {"train": 30, "validation": 12, "test": 18}
    found = [line for name in splits.NAMES for line in lines(*read_split(name))]
    assert sorted(found) == sorted(lines(raw.train_inputs, raw.train_targets))


def test_the_spec_is_computed_from_the_training_split_only() -> None:
    run_prepare(make_raw())
    spec, (inputs, targets) = DataSpec.read(paths.SPEC), read_split("train")
    assert (spec.task, spec.kind, spec.shape, spec.dtype) == ("regression", "tabular", (2,), "float32")
    assert (spec.labels, spec.target, spec.features) == ((), "price", ("size", "colour"))
    assert spec.categories == ((), ("blue", "green", "red"))
    median = float(np.float32(np.nanmedian(inputs[:, 0])))
    filled = np.where(np.isnan(inputs[:, 0]), median, inputs[:, 0]).astype(np.float64)
    assert spec.fill == (median, -1.0)
    assert spec.mean == (pytest.approx(filled.mean(), rel=1e-9), 0.0)
    assert spec.std == (pytest.approx(filled.std(), rel=1e-9), 1.0)
    assert spec.target_mean == pytest.approx(targets.mean(dtype=np.float64))
    assert spec.target_std == pytest.approx(targets.std(dtype=np.float64))


def test_a_category_unseen_in_training_is_unknown_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    raw = make_raw()
    run_prepare(raw)
    rare = read_split("test")[0][2:4, 0]
    raw.train_inputs[:, 1] %= 2  # blue, green
    raw.train_inputs[np.isin(raw.train_inputs[:, 0], rare), 1] = 2  # red, in the test split only
    report = run_prepare(raw)
    assert DataSpec.read(paths.SPEC).categories[1] == ("blue", "green")
    assert (read_split("test")[0][:, 1] == -1).sum() == len(rare) == report["unknown"]["test"]["colour"]
    assert report["unknown"]["train"] == {}
    assert "note: test rows with a category of 'colour' unseen in training: " in capsys.readouterr().out


def test_where_nothing_may_be_missing_nothing_is_filled() -> None:
    raw = make_raw()
    full = replace(raw, train_inputs=np.nan_to_num(raw.train_inputs), table=replace(raw.table, missing=False))
    run_prepare(full)
    assert DataSpec.read(paths.SPEC).fill == (None, None)


def test_the_report_counts_gaps_and_draws_columns_and_target() -> None:
    report = run_prepare(make_raw())
    assert sum(report["missing"][name]["size"] for name in splits.NAMES) == len(range(0, COUNT, 7))
    assert report["target"]["train"]["min"] == read_split("train")[1].min()
    assert report["constant_columns"] == []
    for name in ("features.png", "target.png"):
        with Image.open(paths.DATA_REPORT / name) as picture:
            assert len(picture.convert("L").getcolors() or []) > 10


@pytest.mark.parametrize(
    "values",
    [[1e6], 2e7 + np.arange(20), 1.7e9 + 60 * np.arange(COUNT), [-3e38, 3e38], [3e38]],
    ids=["constant", "numbers of things", "seconds", "all of float32", "constant and huge"],
)
def test_numbers_of_every_size_are_drawn(values: list[float] | np.ndarray) -> None:
    raw = make_raw()
    raw.train_inputs[:, 0] = np.resize(np.asarray(values, np.float32), COUNT)
    targets = raw.train_inputs[:, 0] if len(values) > 1 else raw.train_targets
    report = run_prepare(replace(raw, train_targets=targets))
    assert np.isfinite([*report["target"]["train"].values()]).all()
    assert (paths.DATA_REPORT / "features.png").stat().st_size > 1000


def test_a_dollar_in_a_name_is_a_dollar() -> None:
    name = "a $b^$ c"
    raw = make_raw((name, "dear"))
    table = Table((name, "colour"), ((), (name, "green", "red")), missing=True)
    report = run_prepare(replace(raw, name=name, table=table))
    assert name in report["classes"]["train"]
    run_prepare(replace(make_raw(), target=name))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_prepare(make_raw())["data_sha256"]
    monkeypatch.setattr(npy, "CHUNK", 40)
    assert run_prepare(make_raw())["data_sha256"] == whole


def changed(**fields: Any) -> RawData:
    return replace(make_raw(), **fields)


def with_value(value: float) -> np.ndarray:
    inputs = make_raw().train_inputs.copy()
    inputs[5, 0] = value
    return inputs


REFUSED: dict[str, tuple[Callable[[], RawData], str]] = {
    "infinite": (
        lambda: changed(train_inputs=with_value(np.inf)),
        r"column 'size', row 5: inf; allowed: finite numbers",
    ),
    "missing where nothing may be": (
        lambda: changed(table=replace(make_raw().table, missing=False)),
        r"column 'size', row 0: nan; allowed: finite numbers",
    ),
    "another width": (
        lambda: changed(train_inputs=make_raw().train_inputs[:, :1]),
        r"\(60, 1\); allowed: float32 \(N, 2\)",
    ),
    "a target that is no number": (
        lambda: changed(train_targets=np.full(COUNT, NAN, np.float32)),
        r"train_targets\.npy: nan in row 0; allowed: finite numbers",
    ),
    "all targets equal": (
        lambda: changed(train_targets=np.ones(COUNT, np.float32)),
        r"every target is 1; allowed: numbers that differ",
    ),
    "few rows": (
        lambda: changed(train_inputs=make_raw().train_inputs[:9], train_targets=make_raw().train_targets[:9]),
        r"train_targets\.npy: 9 rows; allowed: 10 or more",
    ),
    "one class": (
        lambda: replace(make_raw(("cheap", "dear")), labels=("cheap",)),
        r"labels = \['cheap'\]; allowed: two",
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_invalid_examples_are_rejected(make: Callable[[], RawData], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        run_prepare(make())
    assert "\n" not in str(caught.value)
