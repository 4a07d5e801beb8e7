"""Two intertwined spirals (Lang and Witbrock 1988), which are not linearly separable."""

import numpy as np

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated

TURNS = 1.25
NOISE = 0.02  # standard deviation; the radius grows to 1

find = generated.find


def load(config: DataSource) -> RawData:
    """Points on two arms, the second rotated by half a turn, float32 [2000, 2]. Raises InputError as `find`."""
    random = np.random.default_rng(generated.SEED)
    arms = np.arange(generated.EXAMPLES) % 2
    radius = np.sqrt(random.uniform(0.01, 1, len(arms)))  # density independent of the radius
    angle = 2 * np.pi * TURNS * radius + np.pi * arms
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return generated.classes(config, points + random.normal(0, NOISE, points.shape), arms, ("first", "second"))
