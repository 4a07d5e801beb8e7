"""Wine (Aeberhard and Forina 1992, doi:10.24432/C5PC7J): 178 Italian wines of three cultivars."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded

find = embedded.find


def load(config: DataSource) -> RawData:
    """Results of 13 chemical analyses, float32 [178, 13]. Raises InputError as `find`."""
    return embedded.load(config, "cultivar")
