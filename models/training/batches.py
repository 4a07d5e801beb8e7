"""Examples on disk to batches in memory, the same for both frameworks."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from models.config import Augment
from models.memory_map import release
from models.spec import DataSpec, Metric
from models.training.augment import Draw, change, draw

# Of one call of a framework. A call of TensorFlow takes 1.5 ms more than its computation; large batches hide that.
STEPS_PER_CALL = 16
BYTES_PER_CALL = 1 << 22


class Batch(NamedTuple):
    """`inputs` [N, *shape] as stored; `targets` [N]: int64 classes, or float32 of mean 0 and deviation 1.

    Blended classes are distributions, float32 [N,K].
    """

    inputs: np.ndarray
    targets: np.ndarray

    @property
    def size(self) -> int:
        """N."""
        return len(self.targets)

    @property
    def nbytes(self) -> int:
        """The size of the inputs in bytes."""
        return self.inputs.nbytes

    def arrays(self) -> dict[str, np.ndarray]:
        """Both by name."""
        return self._asdict()


BatchT = TypeVar("BatchT", Batch, Draw)


@dataclass(frozen=True)
class Split:
    """Inputs and targets of one split, memory-mapped: only the batches asked for are read, and none remains mapped."""

    inputs: np.ndarray
    targets: np.ndarray

    def standardised(self, spec: DataSpec) -> "Split":
        """The same split with the targets of a regression as they are learned: of mean 0 and deviation 1."""
        if spec.is_classification:
            return self
        standardised = (self.targets - spec.target_mean) / spec.target_std
        return replace(self, targets=standardised.astype(np.float32))

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class TrainingData:
    """The examples that a model is trained and validated on; targets of a regression are standardised."""

    train: Split
    validation: Split
    spec: DataSpec

    @property
    def metric(self) -> Metric:
        """The metric of a training beside its loss: the share of right classes, or the mean absolute error."""
        return "accuracy" if self.spec.is_classification else "mae"


def batch_count(split: Split, batch_size: int) -> int:
    """Batches in one pass."""
    return -(-len(split) // batch_size)


def shuffled(split: Split, batch_size: int, config: Augment, random: np.random.Generator) -> Iterator[Draw]:
    """One pass in random order with changes. Batches differ by one example at most, so none is tiny."""
    order = random.permutation(len(split))
    for rows in np.array_split(order, batch_count(split, batch_size)):
        yield draw(rows, config, random, images=split.inputs.ndim == 4)


def changed(split: Split, drawn: Draw, config: Augment, outputs: int) -> Batch:
    """The drawn examples of a split with their changes."""
    inputs, targets = split.inputs[drawn.rows], split.targets[drawn.rows]
    release(split.inputs)
    return Batch(*change(inputs, targets, drawn, config, outputs))


def grouped(batches: Iterable[BatchT]) -> Iterator[list[BatchT]]:
    """Consecutive batches of one size, for one call of a framework: at most STEPS_PER_CALL with BYTES_PER_CALL."""
    group: list[BatchT] = []
    for batch in batches:
        if group and not _fits(batch, group):
            yield group
            group = []
        group.append(batch)
    if group:
        yield group


def _fits(batch: BatchT, group: list[BatchT]) -> bool:
    size = (len(group) + 1) * batch.nbytes
    return batch.size == group[0].size and len(group) < STEPS_PER_CALL and size <= BYTES_PER_CALL


def in_order(split: Split, batch_size: int) -> Iterator[Batch]:
    """One pass in stored order, unchanged."""
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield Batch(np.array(split.inputs[part]), np.array(split.targets[part]))
        release(split.inputs)


def rows_in_order(split: Split, batch_size: int) -> Iterator[Draw]:
    """The rows of the batches of `in_order`."""
    for start in range(0, len(split), batch_size):
        yield Draw(np.arange(start, min(start + batch_size, len(split))))


def evenly_spaced(split: Split, count: int) -> Batch:
    """The examples of `evenly_spaced_rows`."""
    rows = evenly_spaced_rows(split.targets, count)
    batch = Batch(np.asarray(split.inputs[rows]), np.asarray(split.targets[rows]))
    release(split.inputs)
    return batch


def evenly_spaced_rows(targets: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows, int64, ascending, the same each time, evenly spaced over the sorted `targets` [N].

    Systematic sampling: each class has its share whatever the order of the examples, and a regression its range.
    """
    order = np.argsort(targets, kind="stable")
    return np.sort(order[np.unique(np.linspace(0, len(order) - 1, count).astype(int))])


def prefetched(groups: Iterator[list[BatchT]]) -> Iterator[list[BatchT]]:
    """The same groups, the next one made in a thread while the last is in use."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, groups, None)
        while (group := pending.result()) is not None:
            pending = pool.submit(next, groups, None)
            yield group
