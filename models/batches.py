"""Examples on disk to batches in memory, the same for both frameworks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.augment import augment
from models.config import Augment


class Batch(NamedTuple):
    """`inputs` [N, *shape] as stored (uint8 images), `targets` int64 [N]."""

    inputs: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Split:
    """Inputs and targets of one split, memory-mapped: only the batches asked for are read."""

    inputs: np.ndarray
    targets: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> "Split":
        """Map `inputs.npy` and `targets.npy` of a folder."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("inputs", "targets")))

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Data:
    """What a model is fitted on and what it is watched with."""

    train: Split
    validation: Split


def steps(split: Split, batch_size: int) -> int:
    """Batches in one pass."""
    return -(-len(split) // batch_size)


def shuffled(split: Split, batch_size: int, config: Augment, random: np.random.Generator) -> Iterator[Batch]:
    """One pass in random order, augmented. Batches differ by one example at most, so none is tiny."""
    order = random.permutation(len(split))
    for chosen in np.array_split(order, steps(split, batch_size)):
        inputs = split.inputs[chosen]
        yield Batch(augment(inputs, config, random) if inputs.ndim == 4 else inputs, split.targets[chosen])


def in_order(split: Split, batch_size: int) -> Iterator[Batch]:
    """One pass in stored order, unchanged."""
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield Batch(np.array(split.inputs[part]), np.array(split.targets[part]))


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, the next one made in a thread while the last is in use."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, batches, None)
        while (batch := pending.result()) is not None:
            pending = pool.submit(next, batches, None)
            yield batch
