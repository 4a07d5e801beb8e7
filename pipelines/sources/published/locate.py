"""Where a source's files are: the folder that was asked for, or cache, system and mirrors in turn."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.sources.options import refuse_others
from pipelines.sources.published.pinned import Pinned


def locate(
    config: DataSource, source: str, pinned: Pinned, mirrors: Sequence[str], installed: Sequence[Path] = ()
) -> Path:
    """The path of one file of `source`, downloaded into the cache where it is nowhere.

    A folder named in `data.path` is the only place looked at. Raises InputError where it or the
    file in it is missing, and where no mirror gives the file. The content is not checked here.
    """
    refuse_others(config, ("path", "mirrors"))
    if found := _find(config, source, pinned, installed):
        return found
    from pipelines.sources.published import download  # brings requests, which most runs never need

    return download.fetch(pinned, config.mirrors or mirrors, cache_folder(source))


def find(config: DataSource, source: str, parts: Sequence[Pinned], installed: Sequence[Path] = ()) -> str | None:
    """The folders in which all `parts` of `source` lie; None where one would have to be downloaded.

    Raises InputError as `locate` does for `data.path`.
    """
    refuse_others(config, ("path", "mirrors"))
    found = [_find(config, source, part, installed) for part in parts]
    there = sorted({str(path.parent) for path in found if path})
    return ", ".join(there) if all(found) else None


def cache_folder(source: str) -> Path:
    """The user's cache folder of one source, as each system has it. Raises InputError without a home."""
    try:
        return _cache_root() / "tandem" / source
    except RuntimeError as error:
        raise InputError(f"no home folder to keep {source} in; set XDG_CACHE_HOME or data.path") from error


def _cache_root() -> Path:
    """XDG Base Directory specification; on Windows and macOS their own places, unless XDG's is set."""
    if named := os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(named)
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()


def _find(config: DataSource, source: str, pinned: Pinned, installed: Sequence[Path]) -> Path | None:
    if config.path is not None:
        return _given(Path(config.path).expanduser(), pinned)
    folders = (cache_folder(source), *installed)
    return next((found for folder in folders if (found := _in(folder, pinned))), None)


def _given(folder: Path, pinned: Pinned) -> Path:
    if not folder.is_dir():
        raise InputError(f"data.path = {str(folder)!r}: no such folder; allowed: a folder that holds {pinned.name}")
    if found := _in(folder, pinned):
        return found
    raise InputError(f"data.path = {str(folder)!r}: lacks {pinned.name}; allowed: a folder that holds it, or null")


def _in(folder: Path, pinned: Pinned) -> Path | None:
    """Unpacked copies have the name without `.gz`."""
    names = (pinned.name, pinned.name.removesuffix(".gz")) if pinned.packed else (pinned.name,)
    return next((folder / name for name in names if (folder / name).is_file()), None)
