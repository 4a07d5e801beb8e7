"""A folder for each class with its pictures in it: which picture belongs to which class. Nothing is decoded here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LITTER = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")  # of Windows, macOS and Synology, in small letters
SPLITS = {"train", "test"}
LAYOUT = "allowed: a folder for each class with its pictures, or train/ and test/ that hold such folders"


@dataclass(frozen=True)
class Part:
    """The pictures of one split by class, in the order of their names' characters.

    What is not read: `others` in the classes, which are no pictures by name, and pictures `loose` beside the classes.
    """

    classes: Mapping[str, Sequence[Path]]
    others: Sequence[Path]
    loose: Sequence[Path]

    @property
    def files(self) -> list[Path]:
        """All pictures [N], class after class."""
        return list(chain.from_iterable(self.classes.values()))

    @property
    def targets(self) -> NDArray[np.int64]:
        """The number of each picture's class [N]."""
        counts = [len(files) for files in self.classes.values()]
        return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def read(root: Path) -> tuple[Part, Part | None]:
    """The training pictures, and the test pictures where `root` holds an official split.

    Hidden files, what systems leave behind and files of other kinds are passed over; links are followed.
    Raises InputError where the folders are not laid out as LAYOUT says or cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"data.path = {str(root)!r}: no such folder; {LAYOUT}")
    if not _is_split(root):
        return _part(root), None
    train, test = (_part(root / name) for name in ("train", "test"))
    if different := sorted(train.classes.keys() ^ test.classes.keys()):
        raise InputError(f"{root}: class '{different[0]}' is in one of train/ and test/ only; allowed: in both")
    return replace(train, loose=[*_loose(root), *train.loose]), test


def twins(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """The labels that differ by capital letters only, which is seldom meant."""
    alike: dict[str, tuple[str, ...]] = {}
    for label in labels:
        alike[label.casefold()] = (*alike.get(label.casefold(), ()), label)
    return [names for names in alike.values() if len(names) > 1]


def _is_split(root: Path) -> bool:
    """Whether there are train/ and test/ with folders in them. Raises InputError for folders beside them."""
    folders = _folders(root)
    if not {*folders} >= SPLITS or not all(_folders(root / name) for name in SPLITS):
        return False
    if others := sorted({*folders} - SPLITS):
        found = f"{root / others[0]}: a folder beside train/ and test/"
        raise InputError(f"{found}; allowed: these two only, validation is split off train/")
    return True


def _part(root: Path) -> Part:
    labels = _folders(root)
    if len(labels) < 2:
        pictures = len(_pictures(root))
        found = f"the one class '{labels[0]}'" if labels else f"no class and {pictures} pictures outside of one"
        raise InputError(f"{root}: {found}; {LAYOUT}, two classes or more")
    classes = {label: _class(root / label) for label in labels}
    others = [root / label / name for label in labels for name in _names(root / label) if not _is_picture(name)]
    return Part(classes, others, _loose(root))


def _loose(root: Path) -> list[Path]:
    """What has a picture's name and is no folder, where there should be folders only."""
    return [root / name for name in _pictures(root) if not (root / name).is_dir()]


def _class(folder: Path) -> list[Path]:
    if not folder.name.isprintable():
        raise InputError(f"{str(folder)!r}: no name for a class; allowed: characters that can be shown")
    if nested := _nested(folder):
        raise InputError(f"{folder / nested[0]}: a folder inside a class; {LAYOUT}")
    pictures = [folder / name for name in _pictures(folder)]
    if not pictures:
        raise InputError(f"{folder}: no picture in it; allowed: {', '.join(SUFFIXES)}")
    return pictures


def _folders(folder: Path) -> list[str]:
    """Names only, sorted."""
    return [name for name in _names(folder) if (folder / name).is_dir()]


def _nested(folder: Path) -> list[str]:
    """The folders in a class; what is named as a picture is not asked, as there may be millions."""
    return [name for name in _names(folder) if not _is_picture(name) and (folder / name).is_dir()]


def _pictures(folder: Path) -> list[str]:
    return [name for name in _names(folder) if _is_picture(name)]


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _names(folder: Path) -> list[str]:
    """Sorted, because each file system has an order of its own."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; allowed: a folder that can be read") from error
    return sorted(name for name in names if not name.startswith(".") and name.lower() not in LITTER)
