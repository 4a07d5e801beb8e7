"""Pictures of your own: a folder for each class, decoded and fitted as the service does it with what it is sent."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import image
from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.options import refuse_others
from pipelines.sources.pictures import class_folders, decoding
from pipelines.sources.pictures.class_folders import Part

USED = ("path", "size", "channels", "max_pixels", "unreadable")
COLOUR = 3
SHOWN = 10  # unreadable files that are printed


def find(config: DataSource) -> str:
    """The folder. Raises InputError where it is not as `class_folders.read` wants it, or `data.size` is missing."""
    refuse_others(config, USED)
    _shape(config)
    class_folders.read(_root(config))
    return str(_root(config))


def load(config: DataSource) -> RawData:
    """The pictures uint8 [N, *data.size, data.channels], as memory maps, in the order of their names.

    Raises InputError as `find`, and where more than the share `data.unreadable` of the files is no picture.
    """
    refuse_others(config, USED)
    root, shape = _root(config), _shape(config)
    train, test = class_folders.read(root)
    _print_classes(root, train, test)
    unreadable: list[str] = []
    decode = partial(_decode, root, shape, config.max_pixels or image.MAX_PIXELS, unreadable)
    train_inputs, train_targets = decode(train)
    test_inputs, test_targets = decode(test) if test else (None, None)
    _judge(unreadable, len(train.targets) + (len(test.targets) if test else 0), config.unreadable or 0.0)
    labels = tuple(train.classes)
    arrays = train_inputs, train_targets, test_inputs, test_targets
    return RawData(root.resolve().name, labels, *arrays, origin=str(root), unreadable=tuple(unreadable))


def _root(config: DataSource) -> Path:
    if config.path is None:
        raise InputError(f"data.path = null: image_folder needs a folder; {class_folders.LAYOUT}")
    return Path(config.path).expanduser()


def _shape(config: DataSource) -> tuple[int, int, int]:
    if config.size is None:
        raise InputError("data.size = null: image_folder needs it; allowed: [height, width] in pixels, as [64, 64]")
    return (*config.size, config.channels or COLOUR)


def _print_classes(root: Path, train: Part, test: Part | None) -> None:
    for part in (train, test) if test else (train,):
        counts = ", ".join(f"{label} {len(files)}" for label, files in part.classes.items())
        print(f"{root}{'' if part is train else ' (test)'}: {counts}", flush=True)
        _print_passed_over(root, part.others, "files have no picture's name")
        _print_passed_over(root, part.loose, "pictures lie in no class and are not read")
    for names in class_folders.twins(list(train.classes)):
        print(f"warning: the classes {', '.join(names)} differ by capital letters only", flush=True)


def _print_passed_over(root: Path, files: Sequence[Path], why: str) -> None:
    if files:
        print(f"note: {len(files)} {why}, the first is {str(files[0].relative_to(root))!a}", flush=True)


def _decode(
    root: Path, shape: tuple[int, int, int], max_pixels: int, unreadable: list[str], part: Part
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures and targets of the files that can be read; a line for each other goes to `unreadable`."""
    files = part.files
    decoded = decoding.decode(files, shape, max_pixels)
    unreadable += [f"{str(files[row].relative_to(root))!a}: {why}" for row, why in decoded.reasons.items()]
    return decoded.images, np.delete(part.targets, list(decoded.reasons))


def _judge(unreadable: Sequence[str], files: int, allowed: float) -> None:
    """Print the first of them. Raises InputError where they are more than the share `allowed` of all files."""
    for line in unreadable[:SHOWN]:
        print(f"unreadable: {line}", flush=True)
    if len(unreadable) > allowed * files:
        found = f"data.unreadable = {allowed:g}: {len(unreadable)} of {files} files cannot be read"
        raise InputError(f"{found}, the first is {unreadable[0]}; allowed: at most {int(allowed * files)}")
    if unreadable:
        print(f"left out {len(unreadable)} of {files} files, which cannot be read", flush=True)
