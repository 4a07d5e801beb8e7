"""Outboxes that ended processes have left, whole and damaged, and on a full disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.tracking import outbox
from pipelines.tracking.outbox import Header, Outbox

STORE = "http://store"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of an outbox with two records, of which one is delivered."""
    box = outbox.create(tmp_path, Header(STORE, "torch-cnn", "1", "run"))
    box.append("params", {"values": {"seed": 0}})
    box.set_delivered(*box.new_records())
    box.append("tags", {"values": {"line": "\u2028"}})
    box.close()
    return box.folder


def abandoned(folder: Path) -> list[Outbox]:
    boxes = list(outbox.abandoned(folder.parent, STORE))
    for box in boxes:
        box.close()
    return boxes


def test_an_outbox_is_taken_over_once_its_process_has_ended(tmp_path: Path) -> None:
    box = outbox.create(tmp_path, Header(STORE, "torch-cnn", "1", "run"))
    assert abandoned(box.folder) == []
    box.close()
    assert [one.id for one in abandoned(box.folder)] == [box.id]
    assert list(outbox.abandoned(tmp_path, "http://other")) == []


@pytest.mark.parametrize("end", [b'["tags", {"val', b"\0" * 100])
def test_an_incomplete_last_line_is_cut(left: Path, end: bytes) -> None:
    with (left / outbox.RECORDS).open("ab") as file:
        file.write(end)
    (box,) = outbox.abandoned(left.parent, STORE)
    box.append("end", {"status": "KILLED"})
    assert [record.kind for record in box.records()] == ["params", "tags", "end"]
    assert [record.number for record in box.undelivered()] == [1, 2]
    box.delete()


@pytest.mark.parametrize("text", ["", "\0\0"])
def test_all_is_delivered_again_if_the_number_of_delivered_records_is_lost(left: Path, text: str) -> None:
    (left / outbox.DELIVERED).write_text(text, "utf-8")
    (box,) = abandoned(left)
    assert [record.number for record in box.undelivered()] == [0, 1]


@pytest.mark.parametrize(
    ("file", "text"),
    [(outbox.HEADER, ""), (outbox.HEADER, "{}"), (outbox.RECORDS, "\0\0\n"), (outbox.RECORDS, "[]\n")],
)
def test_a_damaged_outbox_is_reported_and_kept(
    left: Path, file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (left / file).write_text(text, "utf-8")
    whole = outbox.create(left.parent, Header(STORE, "keras-cnn", "1"))
    whole.close()
    assert [box.id for box in abandoned(left)] == [whole.id]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{left}: damaged records for MLflow are not delivered (")
    assert left.is_dir()


def test_what_is_left_of_a_deleted_outbox_is_deleted(left: Path) -> None:
    part = left.rename(left.with_suffix(outbox.INVISIBLE))
    assert abandoned(part) == []
    assert not part.exists()


def test_an_outbox_that_another_process_deletes_meanwhile_is_left_out(
    left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [left / outbox.HEADER, left.parent / "deleted" / outbox.HEADER]
    monkeypatch.setattr(Path, "glob", lambda *_: iter(paths))
    assert [box.id for box in abandoned(left)] == [left.name]


# A file of limited size gives what a full disk does: a short count, then an error.
FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from pipelines.tracking import outbox

box = outbox.create(Path(sys.argv[1]), outbox.Header("", "torch-cnn"))
delivery = outbox.join(box.folder)
box.append("params", {"values": {"seed": 0}})
size = (box.folder / outbox.RECORDS).stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
for writer in (box, delivery):
    try:
        writer.append("metrics", {"values": {"loss": 0.5}, "step": 1, "timestamp": 1})
    except OSError as error:
        print(error.filename == str(box.folder / outbox.RECORDS), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
box.append("end", {"status": "FAILED"})
print(json.dumps([record.kind for record in delivery.new_records()]))
"""


def test_a_full_disk_is_an_error_and_the_records_remain_readable(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", "True", '["params", "end"]']
    (box,) = outbox.abandoned(tmp_path, "")
    assert [record.kind for record in box.undelivered()] == ["params", "end"]
    box.delete()


def test_an_incomplete_line_of_the_other_process_is_cut_before_the_next_record(left: Path) -> None:
    (box,) = outbox.abandoned(left.parent, STORE)
    with (left / outbox.RECORDS).open("ab") as file:
        file.write(b'["tags", {"val')
    box.append("end", {"status": "KILLED"})
    assert [record.kind for record in box.new_records()] == ["params", "tags", "end"]
    box.delete()


def test_a_record_behind_the_deletion_is_an_error_that_creates_nothing(tmp_path: Path) -> None:
    box = outbox.create(tmp_path, Header(STORE, "torch-cnn"))
    box.delete()
    with pytest.raises(FileNotFoundError, match=outbox.RECORDS):
        box.append("end", {"status": "FAILED"})
    with pytest.raises(FileNotFoundError, match=outbox.FILES):
        box.files()
    assert list(tmp_path.iterdir()) == []
