"""Breast cancer (Wolberg and others 1995, doi:10.24432/C5DW2B): 569 tumours, malignant or benign."""

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError as `embedded.find`."""
    return embedded.find(config)


def load(config: DataSource) -> RawData:
    """Measures of the cells' nuclei, float32 [569, 30]. Raises InputError as `find`."""
    return embedded.load(config, "diagnosis")
