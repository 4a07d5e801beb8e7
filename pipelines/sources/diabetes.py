"""Diabetes (Efron and others 2004, doi:10.1214/009053604000000067): progression in 442 patients after one year."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded

find = embedded.find


def load(config: DataSource) -> RawData:
    """Age, sex, body mass index, blood pressure and six serum measurements in their original units, float32 [442, 10].

    Raises InputError as `find`.
    """
    return embedded.load(config, "progression", scaled=False)
