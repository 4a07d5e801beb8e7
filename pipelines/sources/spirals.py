"""Two spirals, one within the other (Lang and Witbrock 1988): no line parts them."""

import numpy as np

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated

TURNS = 1.25
NOISE = 0.02  # standard deviation; the radius grows to 1


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `generated.find`."""
    return generated.find(config)


def load(config: DataSource) -> RawData:
    """Points of two arms, the second half a turn from the first. Raises InputError as `find`."""
    random = np.random.default_rng(generated.SEED)
    arms = np.arange(generated.EXAMPLES) % 2
    radius = np.sqrt(random.uniform(0.01, 1, len(arms)))  # as many points in the outer turn as its length asks for
    angle = 2 * np.pi * TURNS * radius + np.pi * arms
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return generated.classes(config, points + random.normal(0, NOISE, points.shape), arms, ("first", "second"))
