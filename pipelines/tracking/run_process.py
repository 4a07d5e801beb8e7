"""The process that starts, writes and ends the runs of a stage."""

import os
import signal
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

from models.errors import InputError, one_line
from models.plotting.palette import PALETTE
from pipelines.tracking import abandoned, location, outbox, provenance, store
from pipelines.tracking.client import mlflow
from pipelines.tracking.delivery import Delivery, create_run
from pipelines.tracking.outbox import Outbox, Record
from pipelines.tracking.run import Run
from pipelines.tracking.system_metrics import SystemMetricsThread

REPLACED_RUN_TAG = "tandem.replaces_run"
COLOUR_TAG = "mlflow.runColor"  # read by MLflow's user interface
POLL_SECONDS = 0.1  # between looks for new records
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0)  # between attempts; the last one is repeated


def serve(connection: Connection, experiment: str, parent: int) -> None:
    """Open the experiment, and write runs to it as the process `parent` requests, until that ends.

    Requests, with the folder of the outbox of the run: `start` and `resume`, with their arguments, whose answer is the
    header of the run and whether it continues, or an InputError; `child`, without an answer; and `close`, without a
    folder, whose answer is None, once all is delivered.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage ends its runs
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _leave_inherited_connections()
    with suppress(EOFError, ConnectionError):
        Writer(connection, parent, _open_experiment(experiment)).serve()


def _leave_inherited_connections() -> None:
    """Use none of the database connections that a fork has inherited.

    Recipe: https://docs.sqlalchemy.org/en/20/core/pooling.html#using-connection-pools-with-multiprocessing-or-os-fork
    """

    @event.listens_for(Pool, "connect")
    def connect(_: Any, record: Any) -> None:
        record.info["process"] = os.getpid()

    @event.listens_for(Pool, "checkout")
    def checkout(_: Any, record: Any, proxy: Any) -> None:
        if record.info.get("process") != os.getpid():
            record.dbapi_connection = proxy.dbapi_connection = None
            raise DisconnectionError("the connection is of another process")


def _open_experiment(name: str) -> str | InputError:
    """The id of the experiment, after delivery of what ended processes have left, or why it cannot be opened."""
    os.environ.pop("MLFLOW_RUN_ID", None)  # MLflow would use it for the new run
    mlflow.set_tracking_uri(location.uri())
    try:
        experiment_id = store.open_experiment(name)
    except InputError as error:
        return error
    abandoned.deliver()
    return experiment_id


class Writer:
    """Delivers the records of the runs in progress; an outage is reported once, and waited for."""

    def __init__(self, connection: Connection, parent: int, experiment_id: str | InputError) -> None:
        self.connection = connection
        self.parent = parent
        self.experiment_id = experiment_id
        self.requests: deque[tuple[Any, ...]] = deque()
        self.deliveries: list[Delivery] = []
        self.system_metrics: dict[str, SystemMetricsThread] = {}  # by the id of the outbox
        self.is_closing = False
        self.has_given_up = False  # until `close` is answered
        self.in_outage = False
        self.has_failed_to_sync = False

    def serve(self) -> None:
        """Answer requests and deliver records. Raises EOFError when the parent has ended."""
        while True:
            self._wait(POLL_SECONDS)
            while self.requests:
                self._answer(*self.requests.popleft())
            self._deliver_new_records()
            if self.is_closing and not self.requests:
                self._close()

    def _wait(self, seconds: float) -> None:
        """Wait for a request, which is put into the queue. Raises EOFError if the parent has ended."""
        # Another process that the parent has started may have its end of the connection, too.
        if os.getppid() != self.parent:
            raise EOFError
        if self.connection.poll(seconds):
            self.requests.append(self.connection.recv())
            self.is_closing |= self.requests[-1][0] == "close"

    def _answer(self, function: str, folder: Path | None = None, *arguments: Any) -> None:
        if folder is None:
            for box_id in [*self.system_metrics]:
                self._stop_system_metrics(box_id)
        elif function == "child":
            self._add(outbox.join(folder))
        elif isinstance(self.experiment_id, InputError):
            self.connection.send(self.experiment_id)
        else:
            self._open(self.experiment_id, function, folder, *arguments)

    def _open(self, experiment_id: str, function: str, folder: Path, *arguments: Any) -> None:
        box = outbox.join(folder)
        try:
            is_continued = (_start if function == "start" else _resume)(box, experiment_id, *arguments)
        except InputError as error:
            box.close()
            self.connection.send(error)
            return
        self._add(box)
        if function == "start":
            self.system_metrics[box.id] = SystemMetricsThread(box.header.run_id, Run(box).log_metrics)
            self.system_metrics[box.id].start()
        self.connection.send((box.header, is_continued))

    def _add(self, box: Outbox) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ctrl-C
        self.deliveries.append(Delivery(box))

    def _close(self) -> None:
        """Leave what is not delivered to the next command."""
        for delivery in self.deliveries:
            delivery.outbox.close()
        self.deliveries.clear()
        self.is_closing = self.has_given_up = False
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.connection.send(None)

    def _stop_system_metrics(self, box_id: str) -> None:
        if thread := self.system_metrics.pop(box_id, None):
            thread.close()

    def _deliver_new_records(self) -> None:
        """Deliver until nothing is left or, when closing, the store does not respond."""
        for delivery in [*self.deliveries]:
            try:
                records = delivery.outbox.new_records()
            except FileNotFoundError as error:
                print(f"{delivery.outbox.header.name}: what was logged was deleted ({error})", flush=True)
                self._stop_system_metrics(delivery.outbox.id)
                self.deliveries.remove(delivery)
                continue
            if records:
                self._sync(delivery.outbox)
            for record in records:
                if record.kind == "end":  # no thread may write to the outbox once it is deleted
                    self._stop_system_metrics(delivery.outbox.id)
                self.has_given_up = self.has_given_up or not self._deliver(delivery, record)
                if self.has_given_up:
                    return
                if record.kind == "end":
                    delivery.outbox.delete()
                    self.deliveries.remove(delivery)
                    break  # system metrics may follow

    def _sync(self, box: Outbox) -> None:
        """Wait until the records are on the disk. An error is reported once: they can be delivered all the same."""
        try:
            box.sync()
        except OSError as error:
            if not self.has_failed_to_sync:
                self.has_failed_to_sync = True
                print(f"{box.header.name}: a power failure may lose what is logged ({error})", flush=True)

    def _deliver(self, delivery: Delivery, record: Record) -> bool:
        """Try until it succeeds; False if it has failed when closing. Each request is then tried once more."""
        attempt = 0
        while True:
            is_last = self.is_closing and attempt > 0
            try:
                delivery.deliver(record, repeated=attempt > 0)
            except Exception as error:  # clients of artifact stores raise exceptions of their own
                self._report_outage(error, delivery.outbox)
            else:
                self._report_recovery(delivery.outbox)
                return True
            if is_last:
                return False
            self._pause(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until `close`."""
        end = time.monotonic() + seconds
        while not self.is_closing and (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _report_outage(self, error: Exception, box: Outbox) -> None:
        if not self.in_outage:
            self.in_outage = True
            print(
                f"{box.header.name}: {location.public_uri()} does not respond ({_cause(error)}); what is "
                f"logged is kept in {box.folder} and delivered when it does, or by the next stage",
                flush=True,
            )

    def _report_recovery(self, box: Outbox) -> None:
        if self.in_outage:
            self.in_outage = False
            print(f"{box.header.name}: {location.public_uri()} responds again", flush=True)


def _cause(error: BaseException) -> str:
    """The error that led to all others, such as: Connection refused."""
    while deeper := error.__cause__ or error.__context__ or _last_argument(error):
        error = deeper
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {one_line(error)[:100]}"


def _last_argument(error: BaseException) -> BaseException | None:
    """The last argument if it is an error: urllib3 passes that of a closed connection so."""
    argument = error.args[-1] if error.args else None
    return argument if isinstance(argument, BaseException) else None


def _start(box: Outbox, experiment_id: str, tags: Mapping[str, str], interrupted: str) -> bool:
    """Create a run, or continue the interrupted one as if it had not ended; true if it continues."""
    with store.errors_reported():
        if existing := _find(experiment_id, interrupted) if interrupted else None:
            box.set_header(replace(box.header, experiment_id=experiment_id, run_id=existing.info.run_id))
            mlflow.MlflowClient().update_run(existing.info.run_id, status="RUNNING")
            Run(box).set_tags(tags)
        else:
            _create_run(box, experiment_id, {COLOUR_TAG: _next_colour(experiment_id), **tags})
    return existing is not None


def _resume(box: Outbox, experiment_id: str, run_id: str) -> bool:
    """Set the recorded run, or the one that replaces it, to RUNNING."""
    with store.errors_reported():
        if existing := _find(experiment_id, run_id):
            info = existing.info
            status = info.status if info.status != "RUNNING" else ""
            identity = {"experiment_id": info.experiment_id, "run_id": info.run_id}
            box.set_header(replace(box.header, **identity, status=status, end_time=info.end_time))
            mlflow.MlflowClient().update_run(info.run_id, status="RUNNING")
        else:
            name = box.header.name
            print(f"{name}: run {run_id} is not in {location.public_uri()}; a new run replaces it", flush=True)
            _create_run(box, experiment_id, {REPLACED_RUN_TAG: run_id, **provenance.tags()})
    return False


def _create_run(box: Outbox, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Create the run of an outbox, which exists before it so that no run is left RUNNING."""
    box.set_header(replace(box.header, experiment_id=experiment_id))
    # The time distinguishes runs of one candidate.
    create_run(box, f"{box.header.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}", tags)


def _find(experiment_id: str, run_id: str) -> Any:
    """The run or the run that replaced it; None if neither exists."""
    if run := store.find_run(run_id):
        return run
    condition = f"tags.`{REPLACED_RUN_TAG}` = '{run_id}'"
    replacements = mlflow.MlflowClient().search_runs([experiment_id], condition, max_results=1)
    return replacements[0] if replacements else None


def _next_colour(experiment_id: str) -> str:
    """The colour after that of the latest run; MLflow's default may give neighbouring runs the same one."""
    latest = mlflow.MlflowClient().search_runs([experiment_id], order_by=["start_time DESC"], max_results=1)
    colour = latest[0].data.tags.get(COLOUR_TAG) if latest else None
    return PALETTE[(PALETTE.index(colour) + 1) % len(PALETTE)] if colour in PALETTE else PALETTE[0]
