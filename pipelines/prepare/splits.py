"""Assignment of examples to splits: stratified by class, reproducible by seed; or by group; or by order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import Prepare
from pipelines.execution.counts import counted
from pipelines.prepare import grouping

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
    official = raw.test_inputs is not None and raw.test_targets is not None
    shares = {"validation": config.validation} | ({} if official else {"test": config.test})
    rows = assign(raw, shares, config)
    parts = {name: SplitRows(raw.train_inputs, raw.train_targets, rows[name]) for name in NAMES if name in rows}
    if raw.test_inputs is None or raw.test_targets is None:
        return parts
    return {**parts, "test": SplitRows(raw.test_inputs, raw.test_targets, np.arange(len(raw.test_targets)))}


def assign(raw: RawData, shares: dict[str, float], config: Prepare) -> dict[str, NDArray[np.int64]]:
    """Row indices (int64, ascending) of each split named in `shares`, and of `train`, which gets the rest.

    Raises InputError if a class would have no example in one of them, or if there are fewer groups or different values
    of the order than splits.
    """
    # A regression is split as a single class.
    targets = np.asarray(raw.train_targets) if raw.is_classification else np.zeros(len(raw.train_targets), np.int64)
    labels = raw.labels or ("",)
    if raw.order is not None:
        _require_parts("prepare.order", len(np.unique(raw.order)), "distinct value", len(shares) + 1)
        rows = in_order(np.asarray(raw.order), shares)
    elif raw.groups is not None or config.group_duplicates:
        units = grouping.units(raw, config.group_duplicates)
        key, noun = ("group_duplicates", "distinct example") if raw.groups is None else ("group", "group")
        _require_parts(f"prepare.{key}", len(np.unique(units)), noun, len(shares) + 1)
        rows = grouping.keep_together(targets, units, shares, config.seed, len(labels))
    else:
        rows = stratify(targets, shares, config.seed, len(labels))
    for index, label in enumerate(labels):
        _require_examples(label, {name: int(np.sum(targets[part] == index)) for name, part in rows.items()})
    return rows


def in_order(order: NDArray[np.float64], shares: dict[str, float]) -> dict[str, NDArray[np.int64]]:
    """Row indices of the splits by ascending `order` [N]: first `train`, then those of `shares` in turn.

    Rows of equal order stay in the earlier split.
    """
    rows = np.argsort(order, kind="stable")
    ends = len(rows) - np.rint(np.cumsum(list(shares.values())[::-1]) * len(rows)).astype(int)[::-1]
    ordered = order[rows]
    ends = np.searchsorted(ordered, ordered[np.maximum(ends - 1, 0)], side="right")
    return {name: np.sort(part) for name, part in zip(("train", *shares), np.split(rows, ends), strict=True)}


def stratify(
    targets: NDArray[np.int64], shares: dict[str, float], seed: int, classes: int
) -> dict[str, NDArray[np.int64]]:
    """Row indices (int64, ascending) of each split named in `shares`, and of `train`, which gets the rest.

    Each class is shuffled and divided separately, so that the splits have the class proportions of `targets` [N].
    """
    random = np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in (*shares, "train")}
    for index in range(classes):
        rows = random.permutation(np.flatnonzero(targets == index))
        cuts = np.rint(np.cumsum(list(shares.values())) * len(rows)).astype(int)
        for part, cut in zip(parts.values(), np.split(rows, cuts), strict=True):
            part.append(cut)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def _require_parts(key: str, count: int, noun: str, minimum: int) -> None:
    """Raise InputError if there are fewer parts, which are not divided, than splits."""
    if count < minimum:
        raise InputError(f"{key}: {counted(count, noun)}; allowed: {minimum} or more, one for each split")


def _require_examples(label: str, counts: Mapping[str, int]) -> None:
    """Raise InputError if one of the splits, whose `counts` of examples of the class these are, has none.

    The label is empty for a regression, whose examples are of no class.
    """
    examples, unit = sum(counts.values()), f"examples of class '{label}'" if label else "rows"
    if examples < len(counts):
        allowed = f"{len(counts)} or more, one for each split; add examples, or remove the class"
        raise InputError(f"{unit}: {examples}; allowed: {allowed}")
    for name, count in counts.items():
        if count == 0:
            key = "prepare.validation + prepare.test" if name == "train" else f"prepare.{name}"
            change = "reduce" if name == "train" else "increase"
            raise InputError(
                f"{key}: none of the {examples} {unit} is left for the {name} split; "
                f"allowed: 1 or more in each split; {change} that share or add examples"
            )
