"""Diabetes (Efron and others 2004, doi:10.1214/009053604000000067): how 442 patients fared within a year."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `embedded.find`."""
    return embedded.find(config)


def load(config: DataSource) -> RawData:
    """Age, sex, body mass index, blood pressure and six serum measurements as they were taken, float32 [442, 10].

    Raises InputError as `find`.
    """
    return embedded.load(config, "progression", scaled=False)
