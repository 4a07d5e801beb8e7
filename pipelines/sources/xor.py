"""Exclusive or (Minsky and Papert 1969): what no linear model can learn."""

import numpy as np

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `generated.find`."""
    return generated.find(config)


def load(config: DataSource) -> RawData:
    """Points whose coordinates have the same sign, or not. Raises InputError as `find`."""
    points = np.random.default_rng(generated.SEED).uniform(-1, 1, (generated.EXAMPLES, 2))
    return generated.classes(config, points, points[:, 0] * points[:, 1] < 0, ("same sign", "other sign"))
