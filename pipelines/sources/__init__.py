"""Data sources: one module per value of `data.source`."""

import importlib
from types import ModuleType

from pipelines.config.params import DataSource


def module(config: DataSource) -> ModuleType:
    """The module of the source named in `data.source`, imported on demand, as some dependencies load slowly."""
    return importlib.import_module(f"pipelines.sources.{config.source}")
