"""Checks that splits assigned by group or order share nothing."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.prepare import validation
from pipelines.prepare.splits import SplitRows


def inspect(parts: Mapping[str, SplitRows], raw: RawData) -> dict[str, Any]:
    """The number of rows whose group is in an earlier split, too, and the range of the order of each split, JSON-ready.

    Only what `raw` has. Raises InputError if a group is in several splits or a split begins before an earlier one ends.
    """
    report: dict[str, Any] = {}
    if raw.groups is not None:
        report["shared_groups"] = validation.common(
            {name: raw.groups[part.rows].tolist() for name, part in parts.items()}
        )
        if any(report["shared_groups"].values()):
            raise InputError(
                f"prepare.group: rows of one group are in two splits: {report['shared_groups']}; allowed: 0"
            )
    if raw.order is not None:
        ranges = {name: np.asarray(raw.order)[part.rows] for name, part in parts.items()}
        report["order"] = {name: [float(values.min()), float(values.max())] for name, values in ranges.items()}
        if not all(earlier[1] < later[0] for earlier, later in pairwise(report["order"].values())):
            raise InputError(
                f"prepare.order: the splits overlap: {report['order']}; allowed: train < validation < test"
            )
    return report
