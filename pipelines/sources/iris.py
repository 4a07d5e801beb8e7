"""Iris (Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x): 150 flowers of three species."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded

find = embedded.find


def load(config: DataSource) -> RawData:
    """Length and width of sepals and petals, float32 [150, 4]. Raises InputError as `find`."""
    return embedded.load(config, "species")
