"""What is read of a large memory map does not remain in the resident memory of the process."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from models.config import Augment
from models.memory_map import RESIDENT_BYTES, batches
from models.training.batches import Split, changed, evenly_spaced, in_order, shuffled
from pipelines.artifacts import npy

SHAPE = (5 * RESIDENT_BYTES // 4 // 28**2, 28, 28, 1)
PLAIN = Augment(shift=0, flip=False, mixup=0.0)
READ: dict[str, Callable[[np.ndarray, np.ndarray], Iterable[object]]] = {
    "slices": lambda images, _: (images[span].sum() for span in npy.spans(images)),
    "slices of a view": lambda images, _: (images[span].sum() for span in npy.spans(images[:, :, :, 0])),
    "parts": lambda images, _: (part.sum() for part in batches(images, 1000)),
    "in order": lambda images, targets: in_order(Split(images, targets), 1000),
    "shuffled": lambda images, targets: (
        changed(Split(images, targets), drawn, PLAIN, 10)
        for drawn in shuffled(Split(images, targets), 1000, PLAIN, np.random.default_rng(0))
    ),
    "evenly spaced": lambda images, targets: evenly_spaced(Split(images, targets), len(targets) // 10),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "images.npy"
    npy.write([np.ones(SHAPE, np.uint8)], np.uint8, SHAPE, path)
    return path


def resident_bytes(path: Path) -> int:
    """Of the mapping of a file into this process (proc(5), `smaps`)."""
    lines = iter(Path("/proc/self/smaps").read_text("utf-8").splitlines())
    mapped = [next(line for line in lines if line.startswith("Rss:")) for line in lines if line.endswith(str(path))]
    return sum(int(line.split()[1]) << 10 for line in mapped)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_pages_that_were_read_are_released(
    path: Path, read: Callable[[np.ndarray, np.ndarray], Iterable[object]]
) -> None:
    images, targets = npy.read(path), np.zeros(SHAPE[0], np.int64)
    for _ in read(images, targets):
        pass
    assert resident_bytes(path) < RESIDENT_BYTES // 2
    assert images[0].sum() == images[-1].sum() == 28**2
