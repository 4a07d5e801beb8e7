import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.spec import DataSpec
from pipelines.artifacts import npy, paths
from pipelines.artifacts.raw_data import RawData
from pipelines.load import __main__ as load
from pipelines.prepare import __main__ as prepare
from pipelines.prepare import splits, validation
from pipelines.prepare.image_statistics import channel_statistics
from tests.pipelines.workspace import (
    assert_one_error_line,
    mount_small_disk,
    read_split,
    run_prepare,
    run_stage,
    unmount,
    write_params,
)

CLASSES = 3


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_params(tmp_path, {"prepare.validation": 0.2, "prepare.test": 0.3})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the stage has run once; tests use copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    write_params(folder, {"prepare.validation": 0.2, "prepare.test": 0.3})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_prepare(make_raw())
    return folder


@pytest.fixture
def prepared(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


def make_raw(count: int = 60, channels: int = 1, test: int = 0) -> RawData:
    """Random images of 6x5 in three classes of equal size."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count + test, 6, 5, channels), np.uint8)
    targets = np.arange(count + test) % CLASSES
    official = (images[count:], targets[count:]) if test else (None, None)
    return RawData("random", ("ant", "bee", "cat"), images[:count], targets[:count], *official, "memory")


def outputs() -> dict[str, str]:
    files = [path for path in paths.DATA.rglob("*") if path.is_file() and paths.RAW not in path.parents]
    return {str(path.relative_to(paths.DATA)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_in(images: np.ndarray, all_images: np.ndarray) -> list[int]:
    places = {image.tobytes(): row for row, image in enumerate(all_images)}
    return [places[image.tobytes()] for image in images]


def test_every_example_is_in_exactly_one_split_with_its_target(workspace: Path) -> None:
    raw = make_raw()
    run_prepare(raw)
    rows = {name: rows_in(read_split(name)[0], raw.train_inputs) for name in splits.NAMES}
    assert sorted(row for part in rows.values() for row in part) == list(range(60))
    for name in splits.NAMES:
        np.testing.assert_array_equal(read_split(name)[1], raw.train_targets[rows[name]])
    assert {name: len(rows[name]) for name in rows} == {"train": 30, "validation": 12, "test": 18}


def test_each_split_has_each_class_in_its_proportion(workspace: Path) -> None:
    raw = make_raw(100)
    targets = np.sort(np.random.default_rng(1).choice(CLASSES, 100, p=[0.6, 0.3, 0.1]))
    report = run_prepare(replace(raw, train_targets=targets))
    for share, split in ((0.5, "train"), (0.2, "validation"), (0.3, "test")):
        for label, count in report["classes"][split].items():
            assert abs(count - share * np.sum(targets == raw.labels.index(label))) <= 1


def test_an_official_test_split_stays_as_it_is(workspace: Path) -> None:
    raw = make_raw(60, test=21)
    report = run_prepare(raw)
    assert raw.test_inputs is not None
    np.testing.assert_array_equal(read_split("test")[0], raw.test_inputs)
    assert report["examples"] == {"train": 48, "validation": 12, "test": 21}


def test_the_spec_has_the_statistics_of_the_training_split_only(workspace: Path) -> None:
    run_prepare(make_raw(channels=3))
    spec = DataSpec.read(paths.SPEC)
    images = read_split("train")[0].astype(np.float64)
    assert (spec.name, spec.task, spec.kind, spec.shape, spec.dtype) == (
        "random",
        "classification",
        "image",
        (6, 5, 3),
        "uint8",
    )
    assert spec.labels == ("ant", "bee", "cat")
    np.testing.assert_allclose(spec.mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(spec.std, images.std(axis=(0, 1, 2)), rtol=1e-12)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(workspace: Path) -> None:
    raw = make_raw()
    first = run_prepare(raw)
    before = outputs()
    assert run_prepare(raw) == first
    assert outputs() == before
    write_params(workspace, {"prepare.validation": 0.2, "prepare.test": 0.3, "prepare.seed": 1})
    assert run_prepare(raw)["data_sha256"] != first["data_sha256"]


def test_chunks_change_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_raw(channels=3)
    run_prepare(raw)
    whole = outputs()
    monkeypatch.setattr(npy, "CHUNK", 200)
    run_prepare(raw)
    assert outputs() == whole


def test_one_changed_pixel_changes_the_hash_of_the_data(workspace: Path) -> None:
    raw = make_raw()
    first = run_prepare(raw)["data_sha256"]
    raw.train_inputs[7, 0, 0, 0] ^= 1
    assert run_prepare(raw)["data_sha256"] != first


def test_empty_and_duplicate_images_are_reported(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = make_raw(60, test=21)
    assert raw.test_inputs is not None
    raw.test_inputs[4] = 0
    raw.test_inputs[5] = 17
    raw.test_inputs[:3] = raw.train_inputs[0]
    report = run_prepare(raw)
    assert report["constant_images"]["test"] == {"count": 2, "rows": [4, 5]}
    assert report["constant_images"]["train"] == {"count": 0, "rows": []}
    assert report["duplicates"]["train/test"] + report["duplicates"]["validation/test"] == 3
    assert report["duplicates"]["train/validation"] == 0
    output = capsys.readouterr().out
    assert "note: test images that are empty, with a single value: 2" in output
    assert re.search(r"note: test images that are also in the \w+ split: 3 \(prepare\.group_duplicates\)", output)


def test_a_constant_channel_has_standard_deviation_one(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = make_raw(channels=3)
    raw.train_inputs[..., 1] = 9
    assert run_prepare(raw)["constant_channels"] == [1]
    spec = DataSpec.read(paths.SPEC)
    assert (spec.mean[1], spec.std[1]) == (9.0, 1.0)
    assert "note: the channels [1] of the train images are constant" in capsys.readouterr().out


def test_statistics_are_exact_for_large_values() -> None:
    images = np.full((1000, 8, 8, 1), 255, np.uint8)
    images[0, 0, 0, 0] = 254
    (mean,), (std,) = channel_statistics(images)
    assert mean == 255 - 1 / 64000
    assert std == pytest.approx(np.sqrt(1 / 64000 - 1 / 64000**2), rel=1e-12)


def test_the_plots_can_be_opened(workspace: Path) -> None:
    run_prepare(make_raw(channels=3))
    for name in ("samples.png", "balance.png"):
        with Image.open(paths.DATA_REPORT / name) as picture:
            assert picture.width >= 1000
            assert len(picture.convert("L").getcolors() or []) > 10


def test_a_dollar_in_a_label_is_a_dollar(workspace: Path) -> None:
    run_prepare(replace(make_raw(), name="$a^$", labels=("US$_min to US$_max", "bee", "$c^$")))
    assert {path.name for path in paths.DATA_REPORT.glob("*.png")} == {"samples.png", "balance.png"}


def with_targets(**changes: int) -> RawData:
    raw = make_raw()
    for row, value in changes.items():
        raw.train_targets[int(row.removeprefix("row"))] = value
    return raw


def one_bee() -> RawData:
    raw = make_raw()
    raw.train_targets[raw.train_targets == 1] = 0
    raw.train_targets[5] = 1
    return raw


REFUSED: dict[str, tuple[Callable[[], RawData], str]] = {
    "label too large": (lambda: with_targets(row7=3), r"train_targets\.npy: label 3 of example 7; allowed: 0 to 2"),
    "negative label": (lambda: with_targets(row7=-1), r"train_targets\.npy: label -1 of example 7; allowed: 0 to 2"),
    "one example of a class": (one_bee, "^examples of class 'bee': 1; allowed: 3 or more, one for each split; add"),
    "no example of a class": (
        lambda: replace(make_raw(), labels=("ant", "bee", "cat", "dog")),
        r"examples of class 'dog': 0; allowed: 3 or more",
    ),
    "no examples": (lambda: make_raw(0), r"train_inputs\.npy: no data, its shape is \(0, 6, 5, 1\)"),
    "another dtype": (
        lambda: replace(make_raw(), train_inputs=make_raw().train_inputs.astype(np.float32)),  # type: ignore[arg-type]
        r"train_inputs\.npy: float32 \(60, 6, 5, 1\); allowed: uint8 \(N, H, W, C\)",
    ),
    "no channel axis": (
        lambda: replace(make_raw(), train_inputs=make_raw().train_inputs[..., 0]),
        r"train_inputs\.npy: uint8 \(60, 6, 5\); allowed: uint8 \(N, H, W, C\)",
    ),
    "two channels": (lambda: make_raw(channels=2), r"train_inputs\.npy: 2 channels; allowed: 1 or 3"),
    "a target too few": (
        lambda: replace(make_raw(), train_targets=make_raw().train_targets[:-1]),
        r"train_targets\.npy: int64 \(59,\); allowed: int64 \(60,\), one for each example",
    ),
    "all images empty": (
        lambda: replace(make_raw(), train_inputs=np.zeros((60, 6, 5, 1), np.uint8)),
        r"train_inputs\.npy: all 60 images are empty",
    ),
    "test images of another size": (
        lambda: replace(make_raw(60, test=6), test_inputs=make_raw(60, test=6).train_inputs[:6, :5]),
        r"test_inputs\.npy: images of \(5, 5, 1\); allowed: \(6, 5, 1\)",
    ),
    "a class missing from the test split": (
        lambda: replace(make_raw(60, test=6), test_targets=np.array([0, 0, 1, 1, 2, 1])),
        "^examples of class 'cat' in the test split: 1; allowed: 2 or more; add examples",
    ),
    "the same label twice": (
        lambda: replace(make_raw(), labels=("ant", "bee", "ant")),
        r"meta\.json: labels = \['ant', 'bee', 'ant'\]; allowed: two or more, each once",
    ),
    "a class too small to split": (
        lambda: make_raw(6),
        "examples of class 'ant': 2; allowed: 3 or more, one for each split",
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_invalid_examples_are_rejected(prepared: Path, make: Callable[[], RawData], words: str) -> None:
    before = outputs()
    with pytest.raises(InputError, match=words) as caught:
        run_prepare(make())
    assert "\n" not in str(caught.value)
    assert outputs() == before


@pytest.mark.parametrize("name", ["train_inputs.npy", "train_targets.npy", "meta.json"])
@pytest.mark.parametrize("harm", ["missing", "cut", "empty", "text"])
def test_a_broken_raw_file_is_one_line(prepared: Path, name: str, harm: str) -> None:
    path = paths.RAW / name
    body = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes({"cut": body[: len(body) - 3], "empty": b"", "text": b"oops"}[harm])
    with pytest.raises(InputError, match=rf"{name}: .*run `dvc repro") as caught:
        prepare.main()
    assert "\n" not in str(caught.value)


def test_pickled_arrays_are_refused(prepared: Path) -> None:
    np.save(paths.RAW / "train_targets.npy", np.array([{"run": "me"}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"train_targets\.npy: not a complete \.npy file"):
        prepare.main()


def test_the_stage_says_what_is_missing_in_one_line(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    assert_one_error_line(run_stage("prepare", tmp_path), "artifacts/data/raw/meta.json: not found", "dvc repro")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    mount_small_disk(tmp_path / "artifacts", kilobytes=200)
    try:
        load.main()
        done = run_stage("prepare", tmp_path)
        assert_one_error_line(done, "artifacts/data", "No space left on device")
        assert {path.name for path in paths.DATA.iterdir()} == {"raw"}
    finally:
        unmount(tmp_path / "artifacts")


def test_constant_images_are_found_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "CHUNK", 64)
    images = make_raw().train_inputs.copy()
    images[[0, 31, 59]] = 5
    assert validation.constant_images(images) == [0, 31, 59]
