"""Delivery of an outbox to the MLflow store, in order and exactly once.

A record whose delivery failed may have arrived: the response may be what was lost. Each kind of record is therefore
delivered so that it may be repeated. Parameters, tags, data sets and files replace themselves. Metrics carry the time
of their recording, and where a record is repeated, the points that the run already has are left out. Metrics of epochs
are left out by their step, also where the run was interrupted and continues. A model carries the id of its record as a
tag, and a run that is created here that of its outbox.
"""

import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

from pipelines.tracking import logged_models, outbox, store
from pipelines.tracking.client import mlflow
from pipelines.tracking.outbox import Outbox, Record

RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0)  # between attempts; the last one is repeated
REJECTIONS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # a later attempt fails, too
Content = Mapping[str, Any]


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
            self._report(record, store.one_line(error))
        self.outbox.set_delivered(record)

    def find_run(self) -> bool:
        """True if the header names the run, or the store has one that was created before its id could be noted."""
        if not self.run_id:
            condition = f"tags.`{outbox.RUN_TAG}` = '{self.outbox.id}'"
            for run in self.client.search_runs([self.outbox.header.experiment_id], condition, max_results=1):
                self.outbox.set_run_id(run.info.run_id)
        return bool(self.run_id)

    def _report(self, record: Record, reason: str) -> None:
        if reason not in self.rejections:
            self.rejections.add(reason)
            print(f"{self.outbox.header.name}: MLflow rejected {record.kind}: {reason}", flush=True)

    def _create(self, _: Record, repeated: bool, name: str, tags: Content, start_time: int) -> None:
        if not (repeated and self.find_run()):
            tags = {**tags, outbox.RUN_TAG: self.outbox.id}
            run = self.client.create_run(self.outbox.header.experiment_id, start_time, tags, name)
            self.outbox.set_run_id(run.info.run_id)

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

    def _dataset(self, _: Record, __: bool, entity: Content, context: str) -> None:
        tag = mlflow.entities.InputTag("mlflow.data.context", context)
        dataset = mlflow.entities.DatasetInput(mlflow.entities.Dataset(**entity), [tag])
        self.client.log_inputs(self.run_id, [dataset])

    def _artifacts(self, record: Record, repeated: bool, folder: str | None) -> None:
        files = self.outbox.files_of(record)
        if files.exists() or not repeated:  # they are deleted once delivered
            self.client.log_artifacts(self.run_id, str(files), folder)

    def _model(self, record: Record, repeated: bool, name: str) -> None:
        files = self.outbox.files_of(record)
        if files.exists() or not repeated:
            logged_models.upload(self.client, self.run_id, files, name, f"{self.outbox.id}/{record.number}")

    def _end(self, _: Record, __: bool, status: str, end_time: int) -> None:
        self.client.set_terminated(self.run_id, status, end_time)


class DeliveryThread(threading.Thread):
    """Delivers records in the background while the process works; an outage is reported once, and waited for.

    An outbox is deleted once the end of its run is delivered.
    """

    def __init__(self) -> None:
        super().__init__(name="MLflow delivery", daemon=True)
        self.queue: SimpleQueue[tuple[Delivery, Record] | None] = SimpleQueue()
        self.closing = threading.Event()
        self.in_outage = False

    def run(self) -> None:
        """Deliver each record of the queue, until it ends or, when closing, the store does not respond."""
        while item := self.queue.get():
            delivery, record = item
            delivery.outbox.sync()
            if not self._deliver(delivery, record):
                return
            if record.kind == "end":
                delivery.outbox.delete()

    def close(self) -> None:
        """Deliver what is left; in an outage each request is tried once more, and the rest is kept on disk."""
        self.closing.set()
        self.queue.put(None)
        self.join()

    def _deliver(self, delivery: Delivery, record: Record) -> bool:
        """Try until it succeeds; False if it has failed and the process is about to end."""
        attempt = 0
        while True:
            is_last = self.closing.is_set() and attempt > 0
            try:
                delivery.deliver(record, repeated=attempt > 0)
            except Exception as error:  # clients of artifact stores raise exceptions of their own
                self._report_outage(error, delivery.outbox)
            else:
                self._report_recovery(delivery.outbox)
                return True
            if is_last:
                return False
            self.closing.wait(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    def _report_outage(self, error: Exception, box: Outbox) -> None:
        if not self.in_outage:
            self.in_outage = True
            print(
                f"{box.header.name}: {store.public_uri()} does not respond ({_cause(error)}); what is "
                f"logged is kept in {box.folder} and delivered when it does, or by the next stage",
                flush=True,
            )

    def _report_recovery(self, box: Outbox) -> None:
        if self.in_outage:
            self.in_outage = False
            print(f"{box.header.name}: {store.public_uri()} responds again", flush=True)


def _cause(error: BaseException) -> str:
    """The error that led to all others, such as: Connection refused."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {store.one_line(error)[:100]}"
