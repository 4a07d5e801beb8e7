"""The module of a data source, by the name in `data.source`."""

import importlib
from types import ModuleType

from pipelines.config.params import DataSource


def source(config: DataSource) -> ModuleType:
    """The file of the source named in `data.source`, imported only now, for what it needs itself."""
    return importlib.import_module(f"pipelines.sources.{config.source}")
