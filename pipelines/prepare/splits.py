"""Assignment of examples to splits: stratified by class, reproducible by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import Prepare

NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitRows:
    """The `rows` (int64 [n], ascending) of `inputs` [N, ...] and `targets` [N] that belong to a split."""

    inputs: NDArray[Any]
    targets: NDArray[Any]
    rows: NDArray[np.int64]


def split(raw: RawData, config: Prepare) -> dict[str, SplitRows]:
    """The three splits of `raw`; an official test split is used unchanged.

    Raises InputError if a class would have no example in one of them.
    """
    # A regression is split as a single class.
    targets = np.asarray(raw.train_targets) if raw.is_classification else np.zeros(len(raw.train_targets), np.int64)
    labels = raw.labels or (raw.target,)
    if raw.test_inputs is None or raw.test_targets is None:
        rows = stratify(targets, {"validation": config.validation, "test": config.test}, config.seed, labels)
        return {name: SplitRows(raw.train_inputs, raw.train_targets, rows[name]) for name in NAMES}
    rows = stratify(targets, {"validation": config.validation}, config.seed, labels)
    parts = {name: SplitRows(raw.train_inputs, raw.train_targets, rows[name]) for name in NAMES[:2]}
    return {**parts, "test": SplitRows(raw.test_inputs, raw.test_targets, np.arange(len(raw.test_targets)))}


def stratify(
    targets: NDArray[np.int64], shares: dict[str, float], seed: int, labels: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Row indices (int64, ascending) of each split named in `shares`, and of `train`, which gets the rest.

    Each class is shuffled and divided separately, so that the splits have the class proportions of `targets` [N].
    Raises InputError if a class of `labels` has no example in a split.
    """
    random = np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in (*shares, "train")}
    for index, label in enumerate(labels):
        rows = random.permutation(np.flatnonzero(targets == index))
        cuts = np.rint(np.cumsum(list(shares.values())) * len(rows)).astype(int)
        for (name, part), cut in zip(parts.items(), np.split(rows, cuts), strict=True):
            _require_examples(name, label, len(cut), len(rows))
            part.append(cut)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def _require_examples(name: str, label: str, count: int, examples: int) -> None:
    if count == 0:
        key = "prepare.validation + prepare.test" if name == "train" else f"prepare.{name}"
        change = "reduce" if name == "train" else "increase"
        raise InputError(
            f"{key}: none of the {examples} examples of class '{label}' is left for the {name} split; "
            f"allowed: 1 or more in each split; {change} that share or add examples"
        )
