"""A run in progress: what a stage logs to it."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from models.config import Framework
from models.spec import DataSpec
from pipelines.artifacts import split_files
from pipelines.artifacts.hashing import hash_files
from pipelines.tracking import logged_models
from pipelines.tracking.client import mlflow, quiet
from pipelines.tracking.delivery import Delivery, DeliveryThread
from pipelines.tracking.outbox import Outbox

# Read by MLflow's user interface.
DESCRIPTION_TAG, IMAGES_TAG = "mlflow.note.content", "mlflow.loggedImages"


class Run:
    """A run in progress. Every method writes to the disk and returns; a thread delivers to MLflow in the same order.

    A continued run has the metrics of an interrupted process; those logged with `log_once` are left out where it has
    them already. The `id` of a run that its thread creates is empty.
    """

    def __init__(self, box: Outbox, thread: DeliveryThread, is_continued: bool = False) -> None:
        self.is_continued = is_continued
        self.id = box.header.run_id
        self.name = box.header.name
        self.experiment_id = box.header.experiment_id
        self._outbox = box
        self._lock = threading.Lock()
        self._delivery = Delivery(box)
        self._thread = thread

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Create the run, with its present time as the start. What is logged before is lost."""
        self._append("create", name=name, tags=dict(tags), start_time=_now())

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names."""
        self._append("params", values=dict(_flatten(values)))

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of the whole run, or of one step of it."""
        values = {name: float(value) for name, value in values.items()}
        self._append("metrics", values=values, step=step, timestamp=_now())

    def log_once(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics that a run has once at a step, even if the process that logs them is interrupted and repeated."""
        values = {name: float(value) for name, value in values.items()}
        self._append("once", values=values, step=step, timestamp=_now(), is_continued=self.is_continued)

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log metrics of one epoch. MLflow shows groups such as `epoch/` in alphabetical order."""
        self.log_once(values, epoch)

    def log_image(self, name: str, image_HWC: np.ndarray, epoch: int) -> None:
        """Log a uint8 image of one epoch; MLflow shows the images of one name with a slider."""
        with self._lock:
            # The file names of mlflow.log_image, which would not write the same ones again.
            stem = f"{name.replace('/', '~')}+step+{epoch}+timestamp+{_now()}+{uuid4()}"
            folder, image = self._outbox.files(), Image.fromarray(image_HWC)
            image.save(folder / f"{stem}.png")
            mlflow.tracking.multimedia.compress_image_size(image).save(folder / f"{stem}+compressed.webp")
            self._append_locked("artifacts", folder="images")
        self.set_tags({IMAGES_TAG: "True"})

    def set_description(self, text: str) -> None:
        """Set the description that MLflow shows at the top of the run."""
        self.set_tags({DESCRIPTION_TAG: text})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        self._append("tags", values=dict(tags))

    def log_dataset(self, spec: DataSpec, split: str, folder: Path) -> None:
        """Log a split, with its inputs.npy and targets.npy in `folder`, as an input of the run."""
        inputs, targets = split_files.read(folder)
        digest = hash_files([folder / split_files.INPUTS, folder / split_files.TARGETS])
        with quiet():  # two of MLflow's dataset sources match a local folder
            dataset = mlflow.data.from_numpy(
                inputs, targets=targets, source=str(folder), name=f"{spec.name}-{split}", digest=digest[:12]
            )
        self._append("dataset", entity=dict(dataset._to_mlflow_entity()), context=split)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a copy of a file, or of all files of a directory, as it is now."""
        with self._lock:
            target = self._outbox.files()
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.copy(path, target)
            self._append_locked("artifacts", folder=folder)

    def log_native(self, file: Path, framework: Framework, spec: DataSpec, example: np.ndarray) -> None:
        """Log a model that `native.save` of the framework has written, with raw examples [N, *shape]."""
        with self._lock:
            logged_models.write_native(file, framework, spec, example, self._outbox.files())
            self._append_locked("model", name=f"{self.name}-native")

    def end(self, status: str, end_time: int | None = None) -> None:
        """Set the status, and the end (ms since 1970) if it is not now."""
        self._append("end", status=status, end_time=end_time or _now())

    def close(self) -> None:
        """Leave what is not delivered to the next process."""
        self._outbox.close()

    def _append(self, kind: str, **content: Any) -> None:
        with self._lock:
            self._append_locked(kind, **content)

    def _append_locked(self, kind: str, **content: Any) -> None:
        self._thread.queue.put((self._delivery, self._outbox.append(kind, content)))


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
