"""A run in progress: what a stage logs to it."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from models.config import Framework
from models.spec import DataSpec
from pipelines.artifacts import json_object, split_files
from pipelines.artifacts.hashing import hash_files
from pipelines.tracking.outbox import Outbox

# Read by MLflow's user interface.
DESCRIPTION_TAG, IMAGES_TAG = "mlflow.note.content", "mlflow.loggedImages"
# Names of files that are delivered as an MLflow model.
SPEC_FILE, EXAMPLE_FILE = "spec.json", "example.npy"
NATIVE_FILES: Mapping[Framework, str] = {"torch": "model.pt2", "keras": "model.keras"}


class Run:
    """A run in progress. Every method writes to the disk and returns; another process delivers in the same order.

    A continued run has the metrics of an interrupted process; those logged with `log_once` are left out where it has
    them already. The `id` of a run that is created in the background is empty.
    """

    def __init__(self, box: Outbox, is_continued: bool = False) -> None:
        self.is_continued = is_continued
        self.id = box.header.run_id
        self.name = box.header.name
        self.experiment_id = box.header.experiment_id
        self._outbox = box

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Create the run, with its present time as the start, before anything is logged."""
        self._append("create", name=name, tags=dict(tags), start_time=_now())

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names."""
        self._append("params", values=dict(json_object.flatten(values)))

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of the whole run, or of one step of it."""
        self._append("metrics", values=_floats(values), step=step, timestamp=_now())

    def log_once(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics that a run has once at a step, even if the process that logs them is interrupted and repeated."""
        self._append("once", values=_floats(values), step=step, timestamp=_now(), is_continued=self.is_continued)

    def log_image(self, name: str, image_HWC: np.ndarray, epoch: int) -> None:
        """Log a uint8 image of one epoch; MLflow shows the images of one name with a slider."""
        # The file names of mlflow.log_image, which would not write the same ones again.
        stem = f"{name.replace('/', '~')}+step+{epoch}+timestamp+{_now()}+{uuid4()}"
        files = self._outbox.files()
        Image.fromarray(image_HWC).save(files / f"{stem}.png")
        self._append("image", files)
        self.set_tags({IMAGES_TAG: "True"})

    def set_description(self, text: str) -> None:
        """Set the description that MLflow shows at the top of the run."""
        self.set_tags({DESCRIPTION_TAG: text})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        self._append("tags", values=dict(tags))

    def log_dataset(self, spec: DataSpec, split: str, folder: Path) -> None:
        """Log a split, with its inputs.npy and targets.npy in `folder`, as an input of the run."""
        digest = hash_files([folder / split_files.INPUTS, folder / split_files.TARGETS])
        arrays = [(list(array.shape), array.dtype.str) for array in split_files.read(folder)]
        name = f"{spec.name}-{split}"
        self._append("dataset", arrays=arrays, source=str(folder), name=name, digest=digest[:12], context=split)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a copy of a file, or of all files of a directory, as it is now."""
        files = self._outbox.files()
        if path.is_dir():
            shutil.copytree(path, files, dirs_exist_ok=True)
        else:
            shutil.copy(path, files)
        self._append("artifacts", files, folder=folder)

    def log_native(self, file: Path, framework: Framework, spec: DataSpec, example: np.ndarray) -> None:
        """Log a model in the format of its framework, once, with raw examples [N, *shape]."""
        files = self._outbox.files()
        shutil.copy(file, files / NATIVE_FILES[framework])
        spec.write(files / SPEC_FILE)
        np.save(files / EXAMPLE_FILE, example)
        self._append("native", files, framework=framework, sha256=hash_files([file]))

    def end(self, status: str, end_time: int | None = None) -> None:
        """Set the status, and the end (ms since 1970) if it is not now."""
        self._append("end", status=status, end_time=end_time or _now())

    def _append(self, kind: str, files: Path | None = None, /, **content: Any) -> None:
        self._outbox.append(kind, content, files)


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
