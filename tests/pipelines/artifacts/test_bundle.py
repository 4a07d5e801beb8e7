import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path

import pytest

from models.errors import InputError
from pipelines.artifacts import bundle
from tests.pipelines import synthetic
from tests.pipelines.workspace import mount_small_disk, unmount
from tests.serving.bundles import HOUSES

RECORD = {
    "name": "torch-cnn",
    "version": "3",
    "spec": {},
    "metrics": {"test/accuracy": 0.98},
    "provenance": {"run_id": "1", "git_commit": "2", "git_dirty": False, "data_sha256": "3", "created": "2026-12-01"},
    "example": {"inputs": [[0]], "outputs": [[1.0]]},
}


def make(path, content):
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def write(record, model, sha256, folder):
    """As `promote` does: a new bundle, which then replaces the one in `folder`."""
    with tempfile.TemporaryDirectory(dir=model.parent) as beside:
        bundle.build(record, model, sha256, Path(beside))
        bundle.install(Path(beside), folder)


def read(folder):
    """As serving does: champion.json, then the file that it names."""
    record = json.loads((folder / "champion.json").read_text("utf-8"))
    content = (folder / record["model"]["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == record["model"]["sha256"]
    return record, content


def test_the_bundle_is_the_model_and_its_record(tmp_path):
    model, sha256 = make(tmp_path / "model.onnx", b"first")
    write(RECORD, model, sha256, tmp_path / "champion")
    record, content = read(tmp_path / "champion")
    assert content == b"first"
    assert record == bundle.read(tmp_path / "champion")
    assert record == {
        "schema": 1,
        **RECORD,
        "model": {"file": f"{sha256}.onnx", "sha256": sha256, "bytes": 5},
    }


def test_a_new_champion_leaves_nothing_of_the_old(tmp_path):
    folder = tmp_path / "champion"
    for content in (b"first", b"second"):
        model, sha256 = make(tmp_path / "model.onnx", content)
        write(RECORD, model, sha256, folder)
    assert {path.name for path in folder.iterdir()} == {"champion.json", f"{sha256}.onnx"}
    assert read(folder)[1] == b"second"


def test_the_same_champion_can_be_written_again(tmp_path):
    model, sha256 = make(tmp_path / "model.onnx", b"first")
    for version in ("1", "2"):
        write({**RECORD, "version": version}, model, sha256, tmp_path / "champion")
    assert read(tmp_path / "champion")[0]["version"] == "2"


def test_what_a_killed_promotion_left_is_swept(tmp_path):
    folder = tmp_path / "champion"
    folder.mkdir()
    (folder / ".champion.json.partial").write_text("half", "utf-8")
    (folder / f".{'a' * 64}.onnx.partial").write_text("half", "utf-8")
    model, sha256 = make(tmp_path / "model.onnx", b"first")
    write(RECORD, model, sha256, folder)
    assert {path.name for path in folder.iterdir()} == {"champion.json", f"{sha256}.onnx"}


def test_a_model_that_is_not_the_proved_one_is_refused_and_the_old_champion_stays(tmp_path):
    folder = tmp_path / "champion"
    model, sha256 = make(tmp_path / "model.onnx", b"first")
    write(RECORD, model, sha256, folder)
    changed, _ = make(tmp_path / "changed.onnx", b"changed")
    with pytest.raises(InputError, match="parity was checked for"):
        write(RECORD, changed, "0" * 64, folder)
    assert {path.name for path in folder.iterdir()} == {"champion.json", f"{sha256}.onnx"}
    assert read(folder)[1] == b"first"


def test_a_full_disk_leaves_the_old_champion_whole(tmp_path):
    disk = tmp_path / "disk"
    mount_small_disk(disk, kilobytes=64)
    try:
        model, sha256 = make(tmp_path / "model.onnx", b"first")
        write(RECORD, model, sha256, disk / "champion")
        large, large_sha256 = make(tmp_path / "large.onnx", os.urandom(200_000))
        with pytest.raises(OSError, match="No space left"):
            write(RECORD, large, large_sha256, disk / "champion")
        assert read(disk / "champion")[1] == b"first"
        assert len(list((disk / "champion").iterdir())) == 2
    finally:
        unmount(disk)


def test_an_interrupt_between_model_and_record_leaves_the_old_champion_whole(tmp_path, monkeypatch):
    folder = tmp_path / "champion"
    model, sha256 = make(tmp_path / "model.onnx", b"first")
    write(RECORD, model, sha256, folder)

    def interrupt(*_):
        raise KeyboardInterrupt

    second, second_sha256 = make(tmp_path / "second.onnx", b"second")
    monkeypatch.setattr(Path, "write_text", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(RECORD, second, second_sha256, folder)
    monkeypatch.undo()
    assert read(folder)[1] == b"first"


def test_a_reader_that_reads_on_and_on_never_sees_half_a_bundle(tmp_path):
    folder = tmp_path / "champion"
    models = [make(tmp_path / f"{index}.onnx", os.urandom(50_000)) for index in range(2)]
    write(RECORD, *models[0], folder)
    done, seen, broken = threading.Event(), set(), []

    def read_on():
        while not done.is_set():
            # A reader tries again where the file was replaced between its two steps.
            try:
                seen.add(read(folder)[0]["version"])
            except FileNotFoundError:
                continue
            except (AssertionError, ValueError) as error:
                broken.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    for index in takewhile(lambda index: index < 40 or (len(seen) < 2 and reader.is_alive()), count()):
        write({**RECORD, "version": str(index)}, *models[index % 2], folder)
    done.set()
    reader.join()
    assert broken == []
    assert len(seen) > 1


def test_a_failure_in_the_block_leaves_the_old_champion_whole(tmp_path):
    folder, newer = tmp_path / "champion", tmp_path / "newer"
    write(RECORD, *make(tmp_path / "model.onnx", b"first"), folder)
    newer.mkdir()
    bundle.build({**RECORD, "version": "4"}, *make(tmp_path / "second.onnx", b"second"), newer)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ZeroDivisionError), bundle.installing(newer, folder):
        raise ZeroDivisionError
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with bundle.installing(newer, folder):
        assert read(folder)[0]["version"] == "3"
    assert read(folder)[0]["version"] == "4"


def test_of_two_that_replace_a_bundle_at_once_one_waits_for_the_other(tmp_path, capsys):
    folder, sources = tmp_path / "champion", [tmp_path / "first", tmp_path / "second"]
    for source in sources:
        source.mkdir()
        bundle.build({**RECORD, "version": source.name}, *make(tmp_path / "model.onnx", source.name.encode()), source)
    other = threading.Thread(target=bundle.install, args=(sources[1], folder))
    with bundle.installing(sources[0], folder):
        other.start()
        other.join(0.5)
        assert other.is_alive()
    other.join()
    record, content = read(folder)
    assert (record["version"], content) == ("second", b"second")
    assert {path.name for path in folder.iterdir()} == {"champion.json", record["model"]["file"]}
    assert (
        capsys.readouterr().out == f"{folder}: waiting for another process that holds {tmp_path / '.champion.lock'}\n"
    )
    assert (tmp_path / ".champion.lock").stat().st_mode & 0o777 == 0o666  # another user may hold it next


def test_a_volume_on_a_read_only_file_system_can_be_written_to(tmp_path):
    disk = tmp_path / "disk"
    volume = disk / "champion"
    mount_small_disk(disk, kilobytes=64)
    try:
        mount_small_disk(volume, kilobytes=64)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for content in (b"first", b"second"):
            write(RECORD, *make(tmp_path / "model.onnx", content), volume)
        record, content = read(volume)
        assert content == b"second"
        assert {path.name for path in volume.iterdir()} == {".lock", "champion.json", record["model"]["file"]}
    finally:
        unmount(volume)
        unmount(disk)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": 2}, "schema = 2; allowed: 1"),
        ({"version": "../1"}, 'version = "../1"; allowed: 1 to 100 letters, digits and characters of _.+:-'),
        ({"model": None}, "model = null; allowed: an object"),
        ({"model": {}}, "model.file: missing"),
        ({"model": {"file": "../x.onnx", "sha256": "../x", "bytes": 1}}, 'model.sha256 = "../x"; allowed: a SHA-256'),
        ({"model": {"file": "x.onnx", "sha256": "a" * 64, "bytes": 1}}, "model: file = 'x.onnx'; allowed: 'aaaa"),
        ({"metrics": {"accuracy": "high"}}, 'metrics.accuracy = "high"; allowed: a number'),
        ({"metrics": {"a\n\x1b[31m": "\x9b"}}, r'metrics.a\n\x1b[31m = "\x9b"; allowed: a number'),
        ({"metrics": {"accuracy": "x" * 9999}}, f'metrics.accuracy = "{"x" * 199}…; allowed: a number'),
        ({"example": {"inputs": [], "outputs": [[1.0]]}}, "example.inputs = []; allowed: a list of at least one"),
        ({"example": {"inputs": [[0]], "outputs": [1.0]}}, "example.outputs.0 = 1.0; allowed: a list"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path, change, problem):
    bundle.build(RECORD, *make(tmp_path / "model.onnx", b"first"), tmp_path)
    file = tmp_path / "champion.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(InputError, match=re.escape(f"{file}: {problem}") + ".*; run `dvc repro`$") as caught:
        bundle.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_failure_beside_a_damaged_bundle_is_the_error_of_the_failure(tmp_path):
    folder, newer = tmp_path / "champion", tmp_path / "newer"
    for path in (folder, newer):
        path.mkdir()
    (folder / "champion.json").write_text("{}", "utf-8")
    bundle.build(RECORD, *make(tmp_path / "model.onnx", b"first"), newer)
    with pytest.raises(ZeroDivisionError), bundle.installing(newer, folder):
        raise ZeroDivisionError
    bundle.install(newer, folder)
    assert read(folder)[1] == b"first"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"mean": (1.0,) * 3, "target_std": 2.0}, []),
        ({"name": "flats"}, ["name"]),
        ({"features": ("area", "colour", "sold")}, ["features"]),
        ({"categories": ((), ("red", "green", "blue"), ("false", "true"))}, ["categories"]),
        ({"fill": (None, -1.0, -1.0)}, ["missing values"]),
    ],
)
def test_another_interface_makes_a_comparison_impossible_but_other_statistics_do_not(change, names):
    assert bundle.data_differences(HOUSES, replace(HOUSES, **change)) == names
    assert bundle.data_differences(synthetic.SPEC, replace(synthetic.SPEC, labels=tuple("abcdefghij"))) == ["labels"]
