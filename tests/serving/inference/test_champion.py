"""Loading and verification of a bundle, and hot reload."""

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, InvalidProtobuf, RuntimeException

from models.errors import InputError
from models.manifest import CHECKED, LOCK
from models.onnx.session import CUDA
from serving.inference import bundle, champion, gpu_batches, retry
from serving.inference.reloader import Reloader
from serving.settings import Settings
from tests.serving.bundles import DIGITS, HOUSES, IRIS, PRICES, raw, weights, write


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest in place."""
    content = json.loads((folder / "champion.json").read_text())
    change(content)
    (folder / "champion.json").write_text(json.dumps(content))


def test_a_valid_bundle_is_loaded(digits: Path) -> None:
    loaded = champion.load(digits, "cpu")
    inputs = raw(DIGITS, 5)
    np.testing.assert_allclose(loaded.predictor.predict(inputs), weights(DIGITS).expected(inputs), atol=1e-6)
    assert loaded.to_dict()["provenance"]["git_commit"] == "f626b23"
    json.dumps(loaded.to_dict())


def test_a_gpu_is_warmed_up_with_every_size_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each size selects its own kernels, which would delay the first requests."""
    sizes: list[int] = []

    class Recorded:
        provider = CUDA

        def predict(self, inputs: np.ndarray) -> None:
            sizes.append(len(inputs))

    monkeypatch.setattr(champion, "_seconds", lambda *_: 0.0)
    champion._warm_up(Recorded(), raw(DIGITS, 3))
    assert tuple(sizes) == gpu_batches.SIZES


@pytest.mark.parametrize("spec", [IRIS, PRICES], ids=lambda spec: spec.name)
def test_a_bundle_of_a_table_model_is_loaded(tmp_path: Path, spec: Any) -> None:
    assert champion.load(write(tmp_path, weights(spec)), "cpu").spec == spec


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features": ["size", "size", "sold"]}, "features: 'size' occurs twice"),
        (
            {"categories": [[], ["red", "green", "red"], ["false", "true"]]},
            "categories of 'colour': 'red' occurs twice",
        ),
    ],
)
def test_duplicate_names_of_a_table(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    folder = write(tmp_path, weights(HOUSES))
    edit(folder, lambda content: content["spec"].update(change))
    with pytest.raises(InputError, match=reason):
        champion.load(folder, "cpu")


BROKEN: dict[str, Callable[[Path], object]] = {
    "no champion yet": lambda folder: (folder / "champion.json").unlink(),
    r"champion\.json: not JSON \(EOF": lambda folder: (folder / "champion.json").write_text("{"),
    "SHA-256 is": lambda folder: next(folder.glob("*.onnx")).write_bytes(b"other"),
    "cannot be read": lambda folder: next(folder.glob("*.onnx")).unlink(),
    r"champion\.json: schema = 2; allowed: 1; run": lambda folder: edit(
        folder, lambda content: content.update(schema=2)
    ),
    r"champion\.json: metrics: missing; run": lambda folder: edit(folder, lambda content: content.pop("metrics")),
    r"champion\.json: model: file = '../x\.onnx'; allowed: '[0-9a-f]{64}\.onnx', its SHA-256; run": lambda folder: edit(
        folder, lambda content: content["model"].update(file="../x.onnx")
    ),
    r"version = .1.r.nx: y.; allowed: 1 to 100 letters, digits and characters of _\.\+:-; run": lambda folder: edit(
        folder, lambda content: content.update(version="1\r\nx: y")
    ),
    r"version = .1.n.; allowed: 1 to 100 letters": lambda folder: edit(
        folder, lambda content: content.update(version="1\n")
    ),
    "labels: '0' occurs twice": lambda folder: edit(folder, lambda content: content["spec"].update(labels=["0"] * 10)),
    "features: 'a' occurs twice": lambda folder: edit(
        folder, lambda content: content["spec"].update(features=["a"] * 2)
    ),
    r"metrics\.accuracy = \"high\"; allowed: a number; run": lambda folder: edit(
        folder, lambda content: content["metrics"].update(accuracy="high")
    ),
    r"provenance\.run_id: missing; run": lambda folder: edit(
        folder, lambda content: content["provenance"].pop("run_id")
    ),
    r"the content = \[1\]; allowed: an object; run": lambda folder: (folder / "champion.json").write_text("[1]"),
    "missing or unknown keys: std": lambda folder: edit(folder, lambda content: content["spec"].pop("std")),
    "wrong outputs for the stored example": lambda folder: edit(
        folder, lambda content: content["example"]["outputs"][0].reverse()
    ),
    "the stored example does not match": lambda folder: edit(
        folder, lambda content: content["example"]["inputs"][0].pop()
    ),
    "outputs have shape": lambda folder: edit(folder, lambda content: content["example"]["outputs"].pop()),
    "does not match the spec .* not 'dict'": lambda folder: edit(
        folder, lambda content: content["example"].update(inputs=[{"a": 1}])
    ),
    "does not match the spec .* not 'NoneType'": lambda folder: edit(
        folder, lambda content: content["example"].update(inputs=[None])
    ),
    "the spec requires": lambda folder: edit(folder, lambda content: content["spec"]["labels"].pop()),
}


WRONG_TYPES = {
    "spec: labels.0 = 0; allowed: text": {"labels": list(range(10))},
    'spec: labels = "0123456789"; allowed: a list': {"labels": "0123456789"},
    "spec: dtype = \"int8\"; allowed: 'uint8' or 'float32'": {"dtype": "int8"},
    "spec: kind = 1; allowed: 'image' or 'tabular'": {"kind": 1},
    "spec: shape = 4; allowed: a list": {"shape": 4},
    "spec: features = null; allowed: a list": {"features": None},
    "spec: categories = null; allowed: a list": {"categories": None},
    "spec: fill = null; allowed: a list": {"fill": None},
    "spec: target_std = null; allowed: a number": {"target_std": None},
    "spec: shape = []; allowed: a list of at least one": {"kind": "tabular", "shape": []},
    "spec: spec of 'digits': features = 0; allowed: 8": {"kind": "tabular"},
}


@pytest.mark.parametrize("message", WRONG_TYPES)
def test_a_spec_with_values_of_other_types_is_rejected(digits: Path, message: str) -> None:
    edit(digits, lambda content: content["spec"].update(WRONG_TYPES[message]))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        champion.load(digits, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("message", BROKEN)
def test_an_invalid_bundle_is_rejected(digits: Path, message: str) -> None:
    BROKEN[message](digits)
    with pytest.raises(InputError, match=message) as caught:
        champion.load(digits, "cpu")
    assert "\n" not in str(caught.value)


def test_without_a_champion_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uv run dvc repro"):
        champion.load(tmp_path / "nothing", "cpu")


class Results(list[str]):
    """The results that the reloader reports."""

    def __call__(self, result: str, now: champion.Champion, before: champion.Champion) -> None:
        self.append(f"{result} {before.version} {now.version}")


def test_a_new_champion_replaces_the_current_one_unless_it_is_invalid(
    digits: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = Results()
    reloader = Reloader(Settings(champion=digits, device="cpu"), results)

    def poll() -> str:
        asyncio.run(reloader.poll())
        return reloader.champion.version

    assert poll() == "1"
    write(digits, weights(DIGITS, 2), "2")
    assert poll() == "2"
    (digits / "champion.json").write_text("garbage")
    assert poll() == "2"
    assert poll() == "2"  # not tried again until a file changes
    assert caplog.messages[-1].startswith(f"rejected new champion, keeping torch-cnn 2: {digits / 'champion.json'}: ")
    (digits / "champion.json").unlink()
    assert poll() == "2"
    assert caplog.messages[-1] == f"{digits / 'champion.json'} was removed, keeping champion torch-cnn 2"
    shutil.rmtree(digits)
    assert poll() == "2"
    assert caplog.messages[-1] == f"{digits / 'champion.json'} was removed, keeping champion torch-cnn 2"
    write(digits, weights(DIGITS), "1")  # rollback
    assert poll() == "1"
    assert results == ["loaded 1 1", "swapped 1 2", *["refused 2 2"] * 3, "swapped 2 1"]


@pytest.mark.parametrize("error", [OSError("stale file handle"), MemoryError(), RuntimeError("out of device memory")])
def test_a_champion_that_could_not_be_loaded_is_tried_again(
    digits: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    now = 0.0
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: now))
    results, load = Results(), champion.load
    reloader = Reloader(Settings(champion=digits, device="cpu"), results)
    write(digits, weights(DIGITS, 2), "2")
    errors = [error, error]

    def failing(*given: Any) -> champion.Champion:
        if errors:
            raise errors.pop()
        return load(*given)

    monkeypatch.setattr(champion, "load", failing)
    asyncio.run(reloader.poll())
    for pauses, left, version in ((0.9, 1, "1"), (1, 0, "1"), (2.9, 0, "1"), (3, 0, "2")):
        now = pauses * retry.FIRST_SECONDS
        asyncio.run(reloader.poll())
        assert (len(errors), reloader.champion.version) == (left, version)
    assert results == ["loaded 1 1", "refused 1 1", "swapped 1 2"]


def test_a_model_that_could_not_be_read_or_opened_is_tried_again() -> None:
    def due(cause: Exception | None) -> bool:
        schedule = retry.Retry()
        error = InputError("model.onnx: cannot be read")
        error.__cause__ = cause
        schedule.failed(error)
        time.sleep(0.01)
        return schedule.due

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_SECONDS", 0.001)
        for error in (OSError("input/output error"), MemoryError(), RuntimeException("bad allocation"), EPFail("busy")):
            assert due(error)
        assert not due(InvalidProtobuf("protobuf parsing failed"))
        assert not due(ValueError("not JSON"))
        assert not due(None)


def test_the_time_of_the_last_check_of_the_registry_and_a_lock_are_not_a_change(digits: Path) -> None:
    before = bundle.fingerprint(digits)
    assert bundle.registry_age(digits) is None
    (digits / CHECKED).touch()
    (digits / LOCK).touch()
    assert bundle.fingerprint(digits) == before
    assert 0 <= (bundle.registry_age(digits) or 0) < 5


def test_a_bundle_copied_in_the_wrong_order_is_loaded_once_it_is_complete(digits: Path, tmp_path: Path) -> None:
    reloader = Reloader(Settings(champion=digits, device="cpu"), Results())
    newer = write(tmp_path / "newer", weights(DIGITS, 2), "2")
    model = next(newer.glob("*.onnx"))
    (digits / "champion.json").write_bytes((newer / "champion.json").read_bytes())
    asyncio.run(reloader.poll())
    assert reloader.champion.version == "1"
    (digits / model.name).write_bytes(model.read_bytes())
    asyncio.run(reloader.poll())
    assert reloader.champion.version == "2"
