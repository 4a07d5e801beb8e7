"""Breast cancer (Wolberg and others 1995, doi:10.24432/C5DW2B): 569 tumours, malignant or benign."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded

find = embedded.find


def load(config: DataSource) -> RawData:
    """Measurements of cell nuclei, float32 [569, 30]. Raises InputError as `find`."""
    return embedded.load(config, "diagnosis")
