"""Atomic outputs: written to a temporary file or folder, then renamed."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(parent: Path, names: Sequence[str]) -> Iterator[Path]:
    """A temporary folder inside `parent`; at the end its entries `names` replace those of `parent`.

    After an exception, such as OSError for a full disk, the folder is removed and `parent` unchanged.
    The last of `names` is renamed last: where it exists, the others do.
    """
    folder = parent / f".{names[-1]}.partial"
    _remove(folder)  # left by a killed run
    folder.mkdir(parents=True)
    try:
        with naming(parent):
            yield folder
            _replace(folder, parent, names)
    finally:
        _remove(folder)


@contextmanager
def replacing(path: Path, *, flushed: bool = False) -> Iterator[Path]:
    """A temporary file that replaces `path` at the end; removed after an exception.

    With `flushed` the new content is on the disk at the end.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        if flushed:
            _flush(beside)
        beside.replace(path)
        if flushed:
            _flush(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Set the file name of an OSError without one, such as that of a full disk, to `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _replace(folder: Path, parent: Path, names: Sequence[str]) -> None:
    for name in reversed(names):
        _remove(parent / name)
    for name in names:
        (folder / name).rename(parent / name)


def remove_incomplete_line(path: Path) -> None:
    """Remove the last line of a file if it is incomplete, because a process was killed while it wrote it."""
    if path.exists() and not _ends_with_newline(path):
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read() == b"\n"


def _flush(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
