"""The module of a data source by the value of `data.source`."""

import importlib
from importlib.util import find_spec
from types import ModuleType

from pipelines.config.params import DataSource

PACKAGES = ("pipelines.sources", "pipelines.sources.built_in")


def module(config: DataSource) -> ModuleType:
    """The module of the source named in `data.source`, imported on demand, as some dependencies load slowly."""
    names = (f"{package}.{config.source}" for package in PACKAGES)
    return importlib.import_module(next(name for name in names if find_spec(name)))
