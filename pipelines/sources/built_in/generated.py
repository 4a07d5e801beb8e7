"""Points that are drawn from a formula, the same ones every time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource
from pipelines.sources.options import refuse_others

EXAMPLES = 2000
SEED = 0


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError where `data.path` is set, for there is no file to look for."""
    if config.path is not None:
        raise InputError(f"data.path = {config.path!r}; allowed: null, as {config.source} is drawn from a formula")
    refuse_others(config, ())
    return "a formula"


def classes(config: DataSource, points: NDArray[np.float64], numbers: NDArray[Any], labels: tuple[str, str]) -> RawData:
    """A classification of `points` [N, 2] in the plane, of the classes `numbers` [N]. Raises InputError as `find`."""
    table = Table(("x", "y"), ((), ()), missing=False)
    inputs, targets = points.astype(np.float32), numbers.astype(np.int64)
    return RawData(config.source, labels, inputs, targets, None, None, find(config), "class", table)
