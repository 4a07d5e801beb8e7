"""Records for MLflow, kept on disk until they are delivered: a transactional outbox.

Each process that writes to a run has a folder of its own. It holds a header, one JSON line per record, copies of the
files that are to be uploaded, and the number of delivered records. Another process reads the records and delivers them.
Each of the two holds a lock as long as it exists; the operating system releases it when the process ends, however it
ends.

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

from pipelines.artifacts.atomic import naming, remove_incomplete_line, replacing

HEADER, RECORDS, DELIVERED, FILES = "header.json", "records.jsonl", "delivered", "files"
WRITER_LOCK, DELIVERY_LOCK = "lock", "delivery.lock"
APPEND_LOCK = "append.lock"  # held by either process while it writes a record
RUN_TAG = "tandem.outbox"  # of a run: the outbox of the process that created it
REQUEST_SECONDS = 60.0  # the process that delivers ends after the other one and its current request
INVISIBLE = ".partial"  # suffix of a folder that is being created or deleted


@dataclass(frozen=True)
class Header:
    """The run and the store of the records.

    `experiment_id` and `run_id` are empty until the store has created the run. A resumed run has the `status` and the
    `end_time` (ms since 1970) of before.
    """

    tracking_uri: str
    name: str
    experiment_id: str = ""
    run_id: str = ""
    status: str = ""
    end_time: int | None = None


@dataclass(frozen=True)
class Record:
    """A record for the store: `kind` is a function of `delivery`, `content` is JSON-ready, `files` names a folder."""

    number: int
    kind: str
    content: Mapping[str, Any]
    files: str


class Outbox:
    """The folder of the records of one process, with the locks that the caller holds."""

    def __init__(self, folder: Path, *locks: FileLock) -> None:
        self.folder = folder
        self.header = read_header(folder)
        self._locks = locks
        self._descriptor = os.open(folder / RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._number, self._offset = 0, 0  # of the next record to be read

    @property
    def id(self) -> str:
        """A unique id."""
        return self.folder.name

    def set_header(self, header: Header) -> None:
        """Write the header."""
        self.header = header
        _write(self.folder / HEADER, json.dumps(asdict(header)))

    def set_run_id(self, run_id: str) -> None:
        """Write the id of the run to the header."""
        self.set_header(replace(self.header, run_id=run_id))

    def files(self) -> Path:
        """A new folder for the files of a record. Raises OSError, for example where the outbox was deleted."""
        (self.folder / FILES).mkdir(exist_ok=True)
        folder = self.folder / FILES / uuid4().hex
        folder.mkdir()
        return folder

    def files_of(self, record: Record) -> Path:
        """The folder of the files of a record."""
        return self.folder / FILES / record.files

    def append(self, kind: str, content: Mapping[str, Any], files: Path | None = None) -> None:
        """Write a record. It survives the end of the process; `sync` makes it survive a power failure.

        Raises OSError, for example where the disk is full or the folder was deleted; nothing of the record is then
        left.
        """
        line = json.dumps([kind, content, files.name if files else ""]) + "\n"
        path = self.folder / RECORDS
        path.stat()  # else the lock would create the folder again
        with naming(path), FileLock(self.folder / APPEND_LOCK):
            remove_incomplete_line(path)  # of a process that was killed
            try:
                _write_all(self._descriptor, line.encode())
            except BaseException:
                remove_incomplete_line(path)
                raise

    def sync(self) -> None:
        """Wait until the records are on the disk. Raises OSError, for example where that is full."""
        with naming(self.folder / RECORDS):
            os.fsync(self._descriptor)

    def new_records(self) -> list[Record]:
        """The records since the last call, oldest first."""
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        records = [Record(self._number + index, *json.loads(line)) for index, line in enumerate(lines)]
        self._number += len(lines)
        self._offset += sum(len(line) + 1 for line in lines)
        return records

    def records(self) -> list[Record]:
        """All records, oldest first."""
        lines = (self.folder / RECORDS).read_bytes().splitlines()
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
        if record.files:
            shutil.rmtree(self.files_of(record), ignore_errors=True)

    def delete(self) -> None:
        """Delete the folder and release the locks."""
        # Renamed first: no other process may see a part of it.
        shutil.rmtree(self.folder.rename(self.folder.with_suffix(INVISIBLE)))
        self.close()

    def close(self) -> None:
        """Release the locks."""
        os.close(self._descriptor)
        for lock in self._locks:
            lock.release()


def create(root: Path, header: Header) -> Outbox:
    """A new outbox in the folder `root`, for the process that writes."""
    folder = root / uuid4().hex
    beside = folder.with_suffix(INVISIBLE)
    beside.mkdir(parents=True)
    lock = FileLock(beside / WRITER_LOCK)
    lock.acquire()
    _write(beside / HEADER, json.dumps(asdict(header)))
    return Outbox(beside.rename(folder), lock)  # visible with its header, and locked


def join(folder: Path) -> Outbox:
    """The outbox that another process has created and holds, for the process that delivers."""
    lock = FileLock(folder / DELIVERY_LOCK)
    lock.acquire()
    return Outbox(folder, lock)


def read_header(folder: Path) -> Header:
    """The header. Raises ValueError or TypeError if it is damaged."""
    return Header(**json.loads((folder / HEADER).read_text("utf-8")))


def abandoned(root: Path, tracking_uri: str) -> Iterator[Outbox]:
    """The outboxes for a store whose processes have ended, oldest first, locked for the caller.

    What such a process has left of a folder that it was creating or deleting is deleted.
    """
    for path in sorted(root.glob(f"*/{HEADER}"), key=_modified):
        if box := _take_over(path.parent, tracking_uri):
            yield box


def _modified(path: Path) -> float:
    """Time of the last change; 0 if another process has just deleted the file."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _take_over(folder: Path, tracking_uri: str) -> Outbox | None:
    """The outbox, locked; None if one of its processes is alive, it is for another store, or damaged."""
    locks = [FileLock(folder / name) for name in (WRITER_LOCK, DELIVERY_LOCK)]
    try:
        locks[0].acquire(blocking=False)
        locks[1].acquire(timeout=REQUEST_SECONDS)
        if folder.suffix == INVISIBLE:
            shutil.rmtree(folder)
        elif read_header(folder).tracking_uri == tracking_uri:
            remove_incomplete_line(folder / RECORDS)
            box = Outbox(folder, *locks)
            box.records()
            return box
    except (Timeout, FileNotFoundError):  # its process is alive, or has just deleted the folder
        pass
    except (ValueError, TypeError) as error:  # a file system may lose the content of a file in a power failure
        print(f"{folder}: damaged records for MLflow are not delivered ({error}); delete the folder", flush=True)
    for lock in locks:
        lock.release()
    return None


def _write_all(descriptor: int, content: bytes) -> None:
    """Write the whole of `content`: on a full disk the first call may write a part without an error."""
    while content:
        content = content[os.write(descriptor, content) :]


def _write(path: Path, text: str) -> None:
    """Replace a file."""
    with replacing(path) as beside:
        beside.write_text(text, "utf-8")
