"""A line with noise: a regression with a known solution."""

import numpy as np

from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated

SLOPE, INTERCEPT = 2.0, 1.0
NOISE = 0.1  # standard deviation

find = generated.find


def load(config: DataSource) -> RawData:
    """y = 2x + 1 with noise, x between -3 and 3, float32 [2000, 1]. Raises InputError as `find`."""
    random = np.random.default_rng(generated.SEED)
    x = random.uniform(-3, 3, (generated.EXAMPLES, 1))
    y = SLOPE * x[:, 0] + INTERCEPT + random.normal(0, NOISE, len(x))
    table = Table(("x",), ((),), missing=False)
    return RawData("line", (), x.astype(np.float32), y.astype(np.float32), None, None, find(config), "y", table)
