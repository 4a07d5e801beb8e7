"""What ended processes have left: undelivered records, and runs that they did not end."""

from pipelines.tracking import outbox, store
from pipelines.tracking.client import mlflow
from pipelines.tracking.delivery import Delivery
from pipelines.tracking.outbox import Outbox

OUTBOX_TAG = "tandem.outbox"  # of a run: the outbox of the process that created it


def deliver() -> None:
    """Deliver it to the store, which must be connected. What fails is reported and kept."""
    for box in outbox.abandoned(store.outboxes(), store.outbox_address()):
        try:
            _deliver(box)
        except Exception as error:  # clients of artifact stores raise exceptions of their own
            reason = store.one_line(error)[:200]
            print(
                f"{box.header.name}: not delivered to {store.public_uri()}: {reason}; kept in {box.folder}", flush=True
            )
            box.close()


def _deliver(box: Outbox) -> None:
    if box.header.run_id or _has_run(box):
        _end(box)
        records, delivery = box.undelivered(), Delivery(box)
        for record in records:
            delivery.deliver(record, repeated=True)
        print(f"{box.header.name}: {len(records)} records of run {box.header.run_id} delivered", flush=True)
    box.delete()


def _has_run(box: Outbox) -> bool:
    """True if the run was created before its process could note the id, which is then noted."""
    condition = f"tags.`{OUTBOX_TAG}` = '{box.id}'"
    runs = mlflow.MlflowClient().search_runs([box.header.experiment_id], condition, max_results=1)
    if runs:
        box.set_run_id(runs[0].info.run_id)
    return bool(runs)


def _end(box: Outbox) -> None:
    """End a run that its process has not ended: a new one as KILLED, a resumed one as it was."""
    if not any(record.kind == "end" for record in box.records()):
        end_time = box.header.end_time or box.last_written()
        box.append("end", {"status": box.header.status or "KILLED", "end_time": end_time})
