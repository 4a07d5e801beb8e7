"""One framework with one architecture, and typed access to the modules of its framework package."""

import argparse
import importlib
import sys
from dataclasses import dataclass
from typing import Any, Literal, get_args, overload

from models.config import Framework, ModelConfig, Models
from models.interfaces import (
    ArchitectureModule,
    BoardModule,
    DeviceModule,
    ExportModule,
    FitModule,
    FrameworkModel,
    StoreModule,
    WorkersModule,
)
from pipelines.execution import garbage_collection
from pipelines.execution.banners import banners_hidden
from pipelines.execution.optional_imports import EXTRAS_OF_KERAS, hidden


@dataclass(frozen=True)
class Candidate:
    """A model that is trained, exported and compared with the others."""

    framework: Framework
    architecture: str

    @property
    def name(self) -> str:
        """The name of the stage suffix, the folders, the MLflow run and the rows of tables."""
        return f"{self.framework}-{self.architecture}"

    @overload
    def framework_module(self, name: Literal["board"]) -> BoardModule[FrameworkModel]: ...
    @overload
    def framework_module(self, name: Literal["device"]) -> DeviceModule: ...
    @overload
    def framework_module(self, name: Literal["export"]) -> ExportModule[FrameworkModel]: ...
    @overload
    def framework_module(self, name: Literal["fit"]) -> FitModule[FrameworkModel]: ...
    @overload
    def framework_module(self, name: Literal["store"]) -> StoreModule[FrameworkModel]: ...
    @overload
    def framework_module(self, name: Literal["workers"]) -> WorkersModule: ...
    def framework_module(self, name: str) -> object:
        """A module of the framework package, imported on demand: no process imports both frameworks."""
        return _imported(f"models.{self.framework}.{name}")

    def architecture_module(self) -> ArchitectureModule[ModelConfig, FrameworkModel]:
        """The module of the architecture, imported on demand."""
        module: ArchitectureModule[ModelConfig, FrameworkModel] = _imported(
            f"models.{self.framework}.{self.architecture}"
        )
        return module

    @property
    def tags(self) -> dict[str, str]:
        """Framework and architecture as tags."""
        return {"framework": self.framework, "architecture": self.architecture}


def _imported(name: str) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    with banners_hidden(), hidden(*EXTRAS_OF_KERAS), garbage_collection.paused():
        return importlib.import_module(name)


def from_command_line(stage: str) -> Candidate:
    """Parse `--framework torch --architecture cnn`; a wrong one ends the process with what is allowed."""
    chosen = parser(stage).parse_args()
    return Candidate(chosen.framework, chosen.architecture)


def parser(stage: str) -> argparse.ArgumentParser:
    """A parser of `--framework` and `--architecture`."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{stage}")
    parser.add_argument("--framework", required=True, choices=get_args(Framework))
    parser.add_argument("--architecture", required=True, choices=list(Models.model_fields))
    return parser
