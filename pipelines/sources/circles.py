"""A circle within a circle, by scikit-learn."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `generated.find`."""
    return generated.find(config)


def load(config: DataSource) -> RawData:
    """Points of two circles, with noise. Raises InputError as `find`."""
    from sklearn.datasets import make_circles  # takes more than a second, which the other sources need not pay

    points, classes = make_circles(generated.EXAMPLES, noise=0.08, factor=0.5, random_state=generated.SEED)
    return generated.classes(config, points, classes, ("outer", "inner"))
