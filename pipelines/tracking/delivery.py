"""Delivery of an outbox to the MLflow store, in order and exactly once.

A record whose delivery failed may have arrived: the response may be what was lost. Each kind of record is therefore
delivered so that it may be repeated. Parameters, tags, data sets and files replace themselves. Metrics carry the time
of their recording, and where a record is repeated, the points that the run already has are left out. Metrics of epochs
are left out by their step, also where the run was interrupted and continues. A model carries the SHA-256 of its file as
a tag, and a run that is created here that of its outbox.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from models.config import Framework
from models.errors import one_line
from models.spec import DataSpec
from pipelines.tracking import logged_models, outbox
from pipelines.tracking.client import mlflow, quiet
from pipelines.tracking.outbox import Outbox, Record
from pipelines.tracking.run import EXAMPLE_FILE, NATIVE_FILES, SPEC_FILE

REJECTIONS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # a later attempt fails, too
Content = Mapping[str, Any]


def create_run(box: Outbox, name: str, tags: Mapping[str, str], start_time: int | None = None) -> None:
    """Create the run of an outbox, by default with the present time (ms since 1970) as the start, and note its id."""
    tags = mlflow.tracking.context.registry.resolve_tags({**tags, outbox.RUN_TAG: box.id})
    run = mlflow.MlflowClient().create_run(box.header.experiment_id, start_time, tags, name)
    box.set_run_id(run.info.run_id)


class Delivery:
    """Writes the records of one outbox to its run."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.client = mlflow.MlflowClient()
        self.rejections: set[str] = set()
        self.histories: dict[str, list[tuple[int, int]]] = {}  # time and step of the points of a metric

    @property
    def run_id(self) -> str:
        """The run of the records."""
        return self.outbox.header.run_id

    def deliver(self, record: Record, repeated: bool) -> None:
        """Write a record. Raises an exception if the store does not respond; `repeated` if it may have arrived before.

        A record that the store rejects, for example because the run was deleted, is reported and dropped.
        """
        try:
            getattr(self, f"_{record.kind}")(record, repeated, **record.content)
        except Exception as error:
            if not isinstance(error, mlflow.MlflowException) or error.error_code not in REJECTIONS:
                self.histories.clear()  # it may have arrived
                raise
            self._report(record, one_line(error))
        self.outbox.set_delivered(record)

    def find_run(self) -> bool:
        """True if the header names the run, or the store has one that was created before its id could be noted."""
        header = self.outbox.header
        if header.experiment_id and not header.run_id:
            condition = f"tags.`{outbox.RUN_TAG}` = '{self.outbox.id}'"
            for run in self.client.search_runs([header.experiment_id], condition, max_results=1):
                self.outbox.set_run_id(run.info.run_id)
        return bool(self.run_id)

    def _report(self, record: Record, reason: str) -> None:
        if reason not in self.rejections:
            self.rejections.add(reason)
            print(f"{self.outbox.header.name}: MLflow rejected {record.kind}: {reason}", flush=True)

    def _create(self, _: Record, repeated: bool, name: str, tags: Content, start_time: int) -> None:
        if not (repeated and self.find_run()):
            create_run(self.outbox, name, tags, start_time)

    def _params(self, _: Record, __: bool, values: Content) -> None:
        params = [mlflow.entities.Param(key, str(value)) for key, value in values.items()]
        self.client.log_batch(self.run_id, params=params)

    def _tags(self, _: Record, __: bool, values: Content) -> None:
        tags = [mlflow.entities.RunTag(key, str(value)) for key, value in values.items()]
        self.client.log_batch(self.run_id, tags=tags)

    def _metrics(self, _: Record, repeated: bool, values: Content, step: int, timestamp: int) -> None:
        points = {key: self._points(key) if repeated else [] for key in values}
        self._log(
            timestamp, step, {key: value for key, value in values.items() if (timestamp, step) not in points[key]}
        )

    def _once(self, _: Record, repeated: bool, values: Content, step: int, timestamp: int, is_continued: bool) -> None:
        points = {key: self._points(key) if repeated or is_continued else [] for key in values}
        steps = {key: {step for _, step in points[key]} for key in values}
        self._log(timestamp, step, {key: value for key, value in values.items() if step not in steps[key]})

    def _log(self, timestamp: int, step: int, values: Content) -> None:
        if values:
            metrics = [mlflow.entities.Metric(key, value, timestamp, step) for key, value in values.items()]
            self.client.log_batch(self.run_id, metrics=metrics)

    def _points(self, key: str) -> list[tuple[int, int]]:
        """Time and step of each point of a metric that the run had when it was first asked for."""
        if key not in self.histories:
            points = self.client.get_metric_history(self.run_id, key)
            self.histories[key] = [(point.timestamp, point.step) for point in points]
        return self.histories[key]

    def _dataset(
        self, _: Record, __: bool, arrays: Sequence[Any], source: str, name: str, digest: str, context: str
    ) -> None:
        # MLflow describes arrays by shape and dtype; these have both, but no content.
        inputs, targets = (np.broadcast_to(np.zeros((), dtype), shape) for shape, dtype in arrays)
        with quiet():  # two of MLflow's dataset sources match a local folder
            dataset = mlflow.data.from_numpy(inputs, targets=targets, source=source, name=name, digest=digest)
        tag = mlflow.entities.InputTag("mlflow.data.context", context)
        self.client.log_inputs(self.run_id, [mlflow.entities.DatasetInput(dataset._to_mlflow_entity(), [tag])])

    def _image(self, record: Record, repeated: bool) -> None:
        for path in self.outbox.files_of(record).glob("*.png"):
            with Image.open(path) as image:
                preview = mlflow.tracking.multimedia.compress_image_size(image)
            preview.save(path.with_name(f"{path.stem}+compressed.webp"))
        self._artifacts(record, repeated, "images")

    def _artifacts(self, record: Record, repeated: bool, folder: str | None) -> None:
        files = self.outbox.files_of(record)
        if files.exists() or not repeated:  # they are deleted once delivered
            self.client.log_artifacts(self.run_id, str(files), folder)

    def _native(self, record: Record, repeated: bool, framework: Framework, sha256: str) -> None:
        files, name = self.outbox.files_of(record), f"{self.outbox.header.name}-native"
        if repeated and not files.exists():
            return
        spec, example = DataSpec.read(files / SPEC_FILE), np.load(files / EXAMPLE_FILE)
        with TemporaryDirectory() as folder:
            logged_models.write_native(files / NATIVE_FILES[framework], framework, spec, example, Path(folder))
            logged_models.upload(self.client, self.run_id, Path(folder), name, sha256)

    def _end(self, _: Record, __: bool, status: str, end_time: int) -> None:
        self.client.set_terminated(self.run_id, status, end_time)
