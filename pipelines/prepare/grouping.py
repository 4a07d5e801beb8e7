"""Assignment of examples to splits in units: groups, or equal examples, that no two splits share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines.artifacts.hashing import digests
from pipelines.artifacts.raw_data import RawData
from pipelines.prepare import validation


def units(raw: RawData, duplicates: bool) -> NDArray[np.int64]:
    """The number of the unit of each example, int64 [N]: a group; with `duplicates` also joined with equal examples."""
    count = len(raw.train_targets)
    groups = np.arange(count) if raw.groups is None else np.unique(raw.groups, return_inverse=True)[1]
    if not duplicates:
        return np.asarray(groups, np.int64)
    equal = np.unique(digests(raw.train_inputs, validation.DIGEST_BYTES), return_inverse=True)[1]
    # Groups and sets of equal examples are the nodes of a graph, and each example joins two of them.
    nodes, shape = groups.max() + 1, groups.max() + equal.max() + 2
    joined = coo_array((np.ones(count), (groups, nodes + equal)), shape=(shape, shape))
    _, component = connected_components(joined, directed=False)
    return np.asarray(component[groups], np.int64)


def keep_together(
    targets: NDArray[np.int64], units: NDArray[np.int64], shares: dict[str, float], seed: int, classes: int
) -> dict[str, NDArray[np.int64]]:
    """Row indices (int64, ascending) of each split named in `shares`, and of `train`, which gets the rest.

    All rows of a unit [N] are in one split. From the largest unit to the smallest, in random order among equals, each
    goes to the split whose numbers of `targets` [N] of each class come closest to its share (in squares, relative to
    the share): so the splits have the class proportions of all as far as the units allow.
    """
    names = (*shares, "train")
    weights = np.array([*shares.values(), 1 - sum(shares.values())])
    wanted = weights[:, None] * np.bincount(targets, minlength=classes)
    present, assigned = np.zeros_like(wanted), np.empty(len(targets), np.int64)
    for rows in _shuffled_units(units, seed):
        kinds, counts = np.unique(targets[rows], return_counts=True)
        missing = wanted[:, kinds] - present[:, kinds]
        chosen = np.argmin(np.sum(counts * (counts - 2 * missing) / wanted[:, kinds], axis=1))
        present[chosen, kinds] += counts
        assigned[rows] = chosen
    return {name: np.flatnonzero(assigned == index) for index, name in enumerate(names)}


def _shuffled_units(units: NDArray[np.int64], seed: int) -> list[NDArray[Any]]:
    """The rows of each unit, the largest units first."""
    rows = np.argsort(units, kind="stable")
    parts = np.split(rows, np.flatnonzero(np.diff(units[rows])) + 1)
    order = np.random.default_rng(seed).permutation(len(parts))
    return sorted((parts[index] for index in order), key=len, reverse=True)
