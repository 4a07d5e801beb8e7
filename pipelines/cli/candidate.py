"""One framework with one architecture: which instance of a stage runs."""

import argparse
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import get_args

from models.config import Framework, Models
from pipelines.cli.banners import banners_hidden


@dataclass(frozen=True)
class Candidate:
    """A model that is trained, exported and compared with the others."""

    framework: Framework
    architecture: str

    @property
    def name(self) -> str:
        """The one name: stage suffix, folder, MLflow run and row in every table."""
        return f"{self.framework}-{self.architecture}"

    def room(self, file: str) -> ModuleType:
        """A file of the framework's room, imported only now: no process ever imports both frameworks."""
        with banners_hidden():
            return importlib.import_module(f"models.{self.framework}.{file}")

    @property
    def tags(self) -> dict[str, str]:
        """Its two halves, as tags."""
        return {"framework": self.framework, "architecture": self.architecture}


def from_command_line(stage: str) -> Candidate:
    """Parse `--framework torch --architecture cnn`; a wrong one ends the process with what is allowed."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{stage}")
    parser.add_argument("--framework", required=True, choices=get_args(Framework))
    parser.add_argument("--architecture", required=True, choices=list(Models.model_fields))
    chosen = parser.parse_args()
    return Candidate(chosen.framework, chosen.architecture)
