"""Points generated from a formula and a fixed seed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource

EXAMPLES = 2000
SEED = 0


def find(config: DataSource) -> str:
    """The location of the examples. Raises InputError if an unused option is set, such as `data.path`."""
    config.require_options()
    return "a formula"


def classes(config: DataSource, points: NDArray[np.float64], targets: NDArray[Any], labels: tuple[str, str]) -> RawData:
    """A classification of `points` [N, 2] with class indices `targets` [N]. Raises InputError as `find`."""
    table = Table(("x", "y"), ((), ()), missing=False)
    arrays = points.astype(np.float32), targets.astype(np.int64)
    return RawData(config.source, labels, *arrays, None, None, find(config), "class", table)
