"""Wine (Aeberhard and Forina 1992, doi:10.24432/C5PC7J): 178 Italian wines of three cultivars."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `embedded.find`."""
    return embedded.find(config)


def load(config: DataSource) -> RawData:
    """The results of 13 chemical analyses, float32 [178, 13]. Raises InputError as `find`."""
    return embedded.load(config, "cultivar")
