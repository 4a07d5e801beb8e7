"""Records for MLflow, kept on disk until they are delivered: a transactional outbox.

Each process that writes to a run has a folder of its own. It holds a header, one JSON line per record, copies of the
files that are to be uploaded, and the number of delivered records. A lock tells whether the process still exists; the
operating system releases it when the process ends, however it ends.

Pattern: https://microservices.io/patterns/data/transactional-outbox.html
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

HEADER, RECORDS, DELIVERED, LOCK, FILES = "header.json", "records.jsonl", "delivered", "lock", "files"
RUN_TAG = "tandem.outbox"  # of a run: the outbox of the process that created it
INVISIBLE = ".partial"  # suffix of a folder that is being created or deleted


@dataclass(frozen=True)
class Header:
    """The run and the store of the records.

    `run_id` is empty until the store has created the run. A resumed run has the `status` and the `end_time` (ms since
    1970) of before.
    """

    tracking_uri: str
    name: str
    experiment_id: str
    run_id: str = ""
    status: str = ""
    end_time: int | None = None


@dataclass(frozen=True)
class Record:
    """What is to be written: `kind` is a function of `delivery`, `content` is JSON-ready."""

    number: int
    kind: str
    content: Mapping[str, Any]


class Outbox:
    """The folder of one process, locked by it."""

    def __init__(self, folder: Path, lock: FileLock, header: Header) -> None:
        self.folder = folder
        self.header = header
        self._lock = lock
        self._count = len(self.records())
        self._stream = (folder / RECORDS).open("a", encoding="utf-8")

    @property
    def id(self) -> str:
        """A unique id."""
        return self.folder.name

    def set_run_id(self, run_id: str) -> None:
        """Write the id of the run to the header."""
        self.header = replace(self.header, run_id=run_id)
        _write(self.folder / HEADER, json.dumps(asdict(self.header)))

    def files(self) -> Path:
        """A new folder for the files of the next record."""
        folder = self.folder / FILES / str(self._count)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def files_of(self, record: Record) -> Path:
        """The folder of the files of a record."""
        return self.folder / FILES / str(record.number)

    def append(self, kind: str, content: Mapping[str, Any]) -> Record:
        """Write a record. It survives the end of the process; `sync` makes it survive a power failure."""
        record = Record(self._count, kind, content)
        self._stream.write(json.dumps([kind, content]) + "\n")
        self._stream.flush()
        self._count += 1
        return record

    def sync(self) -> None:
        """Wait until the records are on the disk."""
        os.fsync(self._stream.fileno())

    def records(self) -> list[Record]:
        """All records, oldest first."""
        path = self.folder / RECORDS
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [Record(number, *json.loads(line)) for number, line in enumerate(lines)]

    def undelivered(self) -> list[Record]:
        """The records that are not known to be delivered. After a power failure some of them may be."""
        path = self.folder / DELIVERED
        delivered = path.read_text("utf-8") if path.exists() else ""
        return self.records()[int(delivered) if delivered.isdecimal() else 0 :]

    def last_written(self) -> int:
        """Time of the last record, in ms since 1970."""
        return int((self.folder / RECORDS).stat().st_mtime * 1000)

    def set_delivered(self, record: Record) -> None:
        """Note that a record and all before it are delivered, and delete its files."""
        _write(self.folder / DELIVERED, str(record.number + 1))
        shutil.rmtree(self.files_of(record), ignore_errors=True)

    def delete(self) -> None:
        """Delete the folder and release the lock."""
        # Renamed first: no other process may see a part of it.
        shutil.rmtree(self.folder.rename(self.folder.with_suffix(INVISIBLE)))
        self.close()

    def close(self) -> None:
        """Release the lock."""
        self._stream.close()
        self._lock.release()


def create(root: Path, header: Header) -> Outbox:
    """A new outbox in the folder `root`."""
    folder = root / uuid4().hex
    beside = folder.with_suffix(INVISIBLE)
    beside.mkdir(parents=True)
    lock = FileLock(beside / LOCK)
    lock.acquire()
    _write(beside / HEADER, json.dumps(asdict(header)))
    return Outbox(beside.rename(folder), lock, header)  # visible with its header, and locked


def abandoned(root: Path, tracking_uri: str) -> Iterator[Outbox]:
    """The outboxes for a store whose processes have ended, oldest first, locked for the caller.

    What such a process has left of a folder that it was creating or deleting is deleted.
    """
    for path in sorted(root.glob(f"*/{HEADER}"), key=_modified):
        if box := _take_over(path, tracking_uri):
            yield box


def _modified(path: Path) -> float:
    """Time of the last change; 0 if another process has just deleted the file."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _take_over(path: Path, tracking_uri: str) -> Outbox | None:
    """The outbox with the header `path`, locked; None if its process is alive, it is for another store, or damaged."""
    folder, lock = path.parent, FileLock(path.parent / LOCK)
    try:
        lock.acquire(blocking=False)
        if folder.suffix == INVISIBLE:
            shutil.rmtree(folder)
        else:
            header = Header(**json.loads(path.read_text("utf-8")))
            if header.tracking_uri == tracking_uri:
                _remove_incomplete_line(folder / RECORDS)
                return Outbox(folder, lock, header)
    except (Timeout, FileNotFoundError):  # its process is alive, or has just deleted the folder
        pass
    except (ValueError, TypeError) as error:  # a file system may lose the content of a file in a power failure
        print(f"{folder}: damaged records for MLflow are not delivered ({error}); delete the folder", flush=True)
    lock.release()
    return None


def _remove_incomplete_line(path: Path) -> None:
    """Cut what a process was writing when it was killed."""
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _write(path: Path, text: str) -> None:
    """Replace a file."""
    beside = path.with_suffix(".new")
    beside.write_text(text, "utf-8")
    beside.replace(path)
