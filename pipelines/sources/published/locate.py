"""Location of the files of a source: the folder `data.path`, or else cache, system folders and mirrors in turn."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from pipelines.config.params import UNUSED_PATH, DataSource
from pipelines.sources.published.pinned import PinnedFile


def locate(
    config: DataSource, source: str, pinned: PinnedFile, mirrors: Sequence[str], system_folders: Sequence[Path] = ()
) -> Path:
    """The path of one file of `source`, downloaded into the cache if it is not found.

    If `data.path` is set, only that folder is searched. Raises InputError if the folder or the file in it is missing,
    or if no mirror provides the file. The content is not verified.
    """
    config.require_options()
    if path := _find(config, source, pinned, system_folders):
        return path
    from pipelines.sources.published import download  # imports requests, which is rarely needed

    return download.fetch(pinned, config.mirrors or mirrors, cache_folder(source))


def find(
    config: DataSource, source: str, parts: Sequence[PinnedFile], system_folders: Sequence[Path] = ()
) -> str | None:
    """The folders of all `parts` of `source`; None if one of them has to be downloaded.

    Raises InputError as `locate` for `data.path`.
    """
    config.require_options()
    files = [_find(config, source, part, system_folders) for part in parts]
    folders = sorted({str(path.parent) for path in files if path})
    return ", ".join(folders) if all(files) else None


def cache_folder(source: str) -> Path:
    """The cache folder of one source. Raises InputError if the user has no home folder."""
    try:
        return _cache_root() / "tandem" / source
    except RuntimeError as error:
        raise InputError(f"no home folder for the cache of {source}; set XDG_CACHE_HOME or data.path") from error


def _cache_root() -> Path:
    """According to the XDG Base Directory specification, or the conventions of Windows and macOS."""
    if folder := os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(folder)
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()


def _find(config: DataSource, source: str, pinned: PinnedFile, system_folders: Sequence[Path]) -> Path | None:
    if config.given_path:
        return _in_required(config.given_path, pinned)
    folders = (cache_folder(source), *system_folders)
    return next((path for folder in folders if (path := _in(folder, pinned))), None)


def _in_required(folder: Path, pinned: PinnedFile) -> Path:
    if not folder.is_dir():
        raise InputError(f"data.path = {str(folder)!r}: no such folder; allowed: a folder that holds {pinned.name}")
    if path := _in(folder, pinned):
        return path
    raise InputError(
        f"data.path = {str(folder)!r}: lacks {pinned.name}; allowed: a folder that holds it, or {UNUSED_PATH}"
    )


def _in(folder: Path, pinned: PinnedFile) -> Path | None:
    """The file in a folder; unpacked copies have the name without `.gz`."""
    names = (pinned.name, pinned.name.removesuffix(".gz")) if pinned.gzipped else (pinned.name,)
    return next((folder / name for name in names if (folder / name).is_file()), None)
