"""User-provided images: one folder per class, decoded and resized by the same code as in the service."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.images import image
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.pictures import class_folders, decoding
from pipelines.sources.pictures.class_folders import ImageFiles

RGB = 3
MAX_PRINTED = 10  # unreadable files


def find(config: DataSource) -> str:
    """The folder. Raises InputError as `class_folders.read`, or if `data.size` is missing or an unused option set."""
    config.require_options()
    _shape(config)
    class_folders.read(Path(config.path))
    return str(Path(config.path))


def load(config: DataSource) -> RawData:
    """The images uint8 [N, *data.size, data.channels] as memory maps, in alphabetical order.

    Raises InputError as `find`, and if more than the share `data.unreadable` of the files cannot be decoded.
    """
    config.require_options()
    root, shape = Path(config.path), _shape(config)
    train, test = class_folders.read(root)
    _print_classes(root, train, test)
    unreadable: list[str] = []
    decode = partial(_decode, root, shape, config.max_pixels or image.MAX_PIXELS, unreadable)
    train_inputs, train_targets = decode(train)
    test_inputs, test_targets = decode(test) if test else (None, None)
    _require_readable(unreadable, len(train.targets) + (len(test.targets) if test else 0), config.unreadable or 0.0)
    labels = tuple(train.classes)
    arrays = train_inputs, train_targets, test_inputs, test_targets
    return RawData(root.resolve().name, labels, *arrays, origin=str(root), unreadable=tuple(unreadable))


def _shape(config: DataSource) -> tuple[int, int, int]:
    assert config.size
    return (*config.size, config.channels or RGB)


def _print_classes(root: Path, train: ImageFiles, test: ImageFiles | None) -> None:
    for part in (train, test) if test else (train,):
        counts = ", ".join(f"{label} {len(files)}" for label, files in part.classes.items())
        print(f"{root}{'' if part is train else ' (test)'}: {counts}", flush=True)
        _print_skipped(root, part.others, "files do not have the suffix of an image")
        _print_skipped(root, part.loose, "images outside of class folders are not read")
    for names in class_folders.labels_differing_in_case(list(train.classes)):
        print(f"warning: the classes {', '.join(names)} differ only in case", flush=True)


def _print_skipped(root: Path, files: Sequence[Path], reason: str) -> None:
    if files:
        print(f"note: {len(files)} {reason}, the first is {str(files[0].relative_to(root))!r}", flush=True)


def _decode(
    root: Path, shape: tuple[int, int, int], max_pixels: int, unreadable: list[str], part: ImageFiles
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and targets of the readable files; a line for each other file is added to `unreadable`."""
    files = part.files
    decoded = decoding.decode(files, shape, max_pixels)
    unreadable += [f"{str(files[row].relative_to(root))!r}: {reason}" for row, reason in decoded.reasons.items()]
    return decoded.images, np.delete(part.targets, list(decoded.reasons))


def _require_readable(unreadable: Sequence[str], files: int, allowed: float) -> None:
    """Print the first MAX_PRINTED, or all and raise InputError if they exceed the share `allowed` of all files."""
    is_rejected = len(unreadable) > allowed * files
    for line in unreadable if is_rejected else unreadable[:MAX_PRINTED]:
        print(f"unreadable: {line}", flush=True)
    if is_rejected:
        problem = f"{len(unreadable)} of {files} files cannot be read, more than the permitted {int(allowed * files)}"
        raise InputError(
            f"data.unreadable = {allowed:g}: {problem}; remove these files, or raise data.unreadable, which leaves "
            f"them out; the first is {unreadable[0]}"
        )
    if unreadable:
        print(f"left out {len(unreadable)} of {files} files, which cannot be read", flush=True)
