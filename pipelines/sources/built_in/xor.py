"""Exclusive or (Minsky and Papert 1969), which is not linearly separable."""

import numpy as np

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated

find = generated.find


def load(config: DataSource) -> RawData:
    """Points classified by the sign of x * y, float32 [2000, 2]. Raises InputError as `find`."""
    points = np.random.default_rng(generated.SEED).uniform(-1, 1, (generated.EXAMPLES, 2))
    return generated.classes(config, points, points[:, 0] * points[:, 1] < 0, ("same sign", "other sign"))
