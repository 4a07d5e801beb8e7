"""Image files in one folder per class, listed without decoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")  # of Windows, macOS and Synology, in lower case
SPLITS = {"train", "test"}
LAYOUT = "allowed: a folder for each class with its images, or train/ and test/ with such folders"


@dataclass(frozen=True)
class ImageFiles:
    """The image files of one split by class, in alphabetical order.

    Skipped files: `others` in class folders without the suffix of an image, and images `loose` beside the folders.
    """

    classes: Mapping[str, Sequence[Path]]
    others: Sequence[Path]
    loose: Sequence[Path]

    @property
    def files(self) -> list[Path]:
        """All image files [N], class by class."""
        return list(chain.from_iterable(self.classes.values()))

    @property
    def targets(self) -> NDArray[np.int64]:
        """The class index of each image file, int64 [N]."""
        counts = [len(files) for files in self.classes.values()]
        return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def read(root: Path) -> tuple[ImageFiles, ImageFiles | None]:
    """The training images, and the test images if `root` holds an official split.

    Hidden files, SYSTEM_FILES and files of other types are skipped; links are followed. Raises InputError if the
    folders do not have the LAYOUT or cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"data.path = {str(root)!r}: no such folder; {LAYOUT}")
    if not _is_split(root):
        return _part(root), None
    train, test = (_part(root / name) for name in ("train", "test"))
    if unmatched := sorted(train.classes.keys() ^ test.classes.keys()):
        raise InputError(f"{root}: class '{unmatched[0]}' is in one of train/ and test/ only; allowed: in both")
    return replace(train, loose=[*_loose(root), *train.loose]), test


def labels_differing_in_case(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of labels that differ only in case, which is probably a mistake."""
    groups: dict[str, tuple[str, ...]] = {}
    for label in labels:
        groups[label.casefold()] = (*groups.get(label.casefold(), ()), label)
    return [group for group in groups.values() if len(group) > 1]


def _is_split(root: Path) -> bool:
    """True if `root` has train/ and test/ with folders in them. Raises InputError for other folders beside them."""
    folders = _folders(root)
    if not {*folders} >= SPLITS or not all(_folders(root / name) for name in SPLITS):
        return False
    if others := sorted({*folders} - SPLITS):
        allowed = "only these two; the validation split is taken from train/"
        raise InputError(f"{root / others[0]}: a folder next to train/ and test/; allowed: {allowed}")
    return True


def _part(root: Path) -> ImageFiles:
    labels = _folders(root)
    if len(labels) < 2:
        images = len(_images(root))
        problem = f"only the class '{labels[0]}'" if labels else f"no class folder and {images} images beside them"
        raise InputError(f"{root}: {problem}; {LAYOUT}, two classes or more")
    classes = {label: _class(root / label) for label in labels}
    others = [root / label / name for label in labels for name in _names(root / label) if not _is_image(name)]
    return ImageFiles(classes, others, _loose(root))


def _loose(root: Path) -> list[Path]:
    """Image files in a folder that should contain only folders."""
    return [root / name for name in _images(root) if not (root / name).is_dir()]


def _class(folder: Path) -> list[Path]:
    if not folder.name.isprintable():
        raise InputError(f"{str(folder)!r}: not a valid class name; allowed: printable characters")
    if nested := _nested(folder):
        raise InputError(f"{folder / nested[0]}: a folder inside a class; {LAYOUT}")
    images = [folder / name for name in _images(folder)]
    if not images:
        raise InputError(f"{folder}: no image in it; allowed: {', '.join(SUFFIXES)}")
    return images


def _folders(folder: Path) -> list[str]:
    """Names of the folders, sorted."""
    return [name for name in _names(folder) if (folder / name).is_dir()]


def _nested(folder: Path) -> list[str]:
    """Folders in a class folder; names of images are not checked, as there may be millions."""
    return [name for name in _names(folder) if not _is_image(name) and (folder / name).is_dir()]


def _images(folder: Path) -> list[str]:
    return [name for name in _names(folder) if _is_image(name)]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _names(folder: Path) -> list[str]:
    """Names of files and folders, sorted, because the order depends on the file system."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; allowed: a folder that can be read") from error
    return sorted(name for name in names if not name.startswith(".") and name.lower() not in SYSTEM_FILES)
