"""MLflow runs: started or resumed for a stage, with runs below them, and ended."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from pipelines.plotting.palette import PALETTE
from pipelines.tracking import abandoned, outbox, provenance, store
from pipelines.tracking.client import mlflow
from pipelines.tracking.delivery import DeliveryThread
from pipelines.tracking.outbox import Header, Outbox
from pipelines.tracking.run import Run
from pipelines.tracking.system_metrics import SystemMetricsThread

RUN_NOT_FOUND_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such run; not a run id of this store
REPLACED_RUN_TAG = "tandem.replaces_run"
COLOUR_TAG, PARENT_TAG = "mlflow.runColor", "mlflow.parentRunId"  # read by MLflow's user interface


@contextmanager
def start(experiment: str, name: str, tags: Mapping[str, str], interrupted: str = "") -> Iterator[Run]:
    """A new run with system metrics, or the `interrupted` one if it still exists, which continues.

    An exception ends it as FAILED, an interrupt as KILLED.

    Raises InputError if the store cannot be reached; an outage that begins later does not end the block.
    """
    experiment_id = _open_experiment(experiment)
    with store.errors_reported():
        existing = _find(experiment_id, interrupted) if interrupted else None
        if existing:
            box = _continue(name, existing.info)
        else:
            box = _create_run(experiment_id, name, {COLOUR_TAG: _next_colour(experiment_id), **tags})
    with (
        _delivered(box, existing is not None) as run,
        closing(SystemMetricsThread(run.id, run.log_metrics)) as system_metrics,
    ):
        if existing:
            run.set_tags(tags)
        system_metrics.start()
        yield run


@contextmanager
def resume(experiment: str, name: str, run_id: str) -> Iterator[Run]:
    """The recorded run; if it no longer exists, the run that replaced it, or a new one.

    Raises InputError if the store cannot be reached; an outage that begins later does not end the block.
    """
    experiment_id = _open_experiment(experiment)
    with store.errors_reported():
        existing = _find(experiment_id, run_id)
        if existing:
            box = _reopen(name, existing.info)
        else:
            print(f"{name}: run {run_id} is not in {store.public_uri()}; a new run replaces it", flush=True)
            box = _create_run(experiment_id, name, {REPLACED_RUN_TAG: run_id, **provenance.tags()})
    with _delivered(box) as run:
        yield run


class ChildRuns:
    """Runs below the run `parent_id`, created and delivered by one thread: an outage of the store delays nothing."""

    def __init__(self, experiment_id: str, parent_id: str) -> None:
        mlflow.set_tracking_uri(store.uri())
        self.experiment_id = experiment_id
        self.tags = mlflow.tracking.context.registry.resolve_tags({PARENT_TAG: parent_id})
        self.thread = DeliveryThread()
        self.thread.start()

    @contextmanager
    def start(self, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
        """A new run, FINISHED at the end of the block; an exception ends it as FAILED, an interrupt as KILLED."""
        header = Header(store.outbox_address(), name, self.experiment_id)
        run = Run(outbox.create(store.outboxes(), header), self.thread)
        run.create(name, {**self.tags, **tags})
        with _ended(run, header):
            yield run

    def close(self) -> None:
        """Deliver what is left; in an outage it is kept on disk for the next process."""
        self.thread.close()


def _open_experiment(name: str) -> str:
    """The id of the experiment, after delivery of what ended processes have left."""
    os.environ.pop("MLFLOW_RUN_ID", None)  # MLflow would use it for the new run
    experiment_id = store.open_experiment(name)
    abandoned.deliver()
    return experiment_id


def _create_run(experiment_id: str, name: str, tags: Mapping[str, str]) -> Outbox:
    """The outbox of a new run. It exists before the run, so that no run is left RUNNING."""
    box = outbox.create(store.outboxes(), Header(store.outbox_address(), name, experiment_id))
    tags = mlflow.tracking.context.registry.resolve_tags({**tags, outbox.RUN_TAG: box.id})
    run_name = f"{name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"  # distinguishes runs of one candidate
    run = mlflow.MlflowClient().create_run(experiment_id, tags=tags, run_name=run_name)
    box.set_run_id(run.info.run_id)
    return box


def _reopen(name: str, info: Any) -> Outbox:
    """The outbox of an existing run, which is set to RUNNING."""
    status = info.status if info.status != "RUNNING" else ""
    header = Header(store.outbox_address(), name, info.experiment_id, info.run_id, status, info.end_time)
    box = outbox.create(store.outboxes(), header)
    mlflow.MlflowClient().update_run(info.run_id, status="RUNNING")
    return box


def _continue(name: str, info: Any) -> Outbox:
    """The outbox of a run whose process was interrupted: it is RUNNING again, as if it had not ended."""
    box = outbox.create(store.outboxes(), Header(store.outbox_address(), name, info.experiment_id, info.run_id))
    mlflow.MlflowClient().update_run(info.run_id, status="RUNNING")
    return box


def _find(experiment_id: str, run_id: str) -> Any:
    """The run or the run that replaced it; None if neither exists."""
    try:
        run = mlflow.get_run(run_id)
        if run.info.lifecycle_stage == "active":
            return run
    except mlflow.MlflowException as error:
        if error.error_code not in RUN_NOT_FOUND_CODES:
            raise
    condition = f"tags.`{REPLACED_RUN_TAG}` = '{run_id}'"
    replacements = mlflow.MlflowClient().search_runs([experiment_id], condition, max_results=1)
    return replacements[0] if replacements else None


def _next_colour(experiment_id: str) -> str:
    """The colour after that of the latest run; MLflow's default may give neighbouring runs the same one."""
    latest = mlflow.MlflowClient().search_runs([experiment_id], order_by=["start_time DESC"], max_results=1)
    colour = latest[0].data.tags.get(COLOUR_TAG) if latest else None
    return PALETTE[(PALETTE.index(colour) + 1) % len(PALETTE)] if colour in PALETTE else PALETTE[0]


@contextmanager
def _delivered(box: Outbox, is_continued: bool = False) -> Iterator[Run]:
    """The run of an outbox, ended with the status of the block; what is left is delivered at the end."""
    thread = DeliveryThread()
    thread.start()
    run = Run(box, thread, is_continued)
    try:
        with _ended(run, box.header):
            yield run
    finally:
        thread.close()
        run.close()


@contextmanager
def _ended(run: Run, header: Header) -> Iterator[None]:
    """End the run with the status of the block; a resumed run keeps its end, and its status if the block fails."""
    status = header.status or "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = header.status or "KILLED"
        raise
    finally:
        run.end(status, header.end_time)
