"""Two half moons, one in the other, by scikit-learn."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import generated


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `generated.find`."""
    return generated.find(config)


def load(config: DataSource) -> RawData:
    """Points of two half moons, with noise. Raises InputError as `find`."""
    from sklearn.datasets import make_moons  # takes more than a second, which the other sources need not pay

    points, classes = make_moons(generated.EXAMPLES, noise=0.15, random_state=generated.SEED)
    return generated.classes(config, points, classes, ("upper", "lower"))
