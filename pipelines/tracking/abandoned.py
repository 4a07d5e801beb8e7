"""Outboxes of ended processes: records that are not delivered, and runs that are not ended."""

from models.errors import one_line
from pipelines.execution.counts import counted
from pipelines.tracking import location, outbox
from pipelines.tracking.delivery import Delivery
from pipelines.tracking.outbox import Outbox


def deliver() -> None:
    """Deliver them to the store, which must be connected. Those that fail are reported and kept."""
    for box in outbox.abandoned(location.outboxes(), location.outbox_address()):
        try:
            _deliver(box)
        except Exception as error:  # clients of artifact stores raise exceptions of their own
            place, reason = location.public_uri(), one_line(error)[:200]
            print(f"{box.header.name}: not delivered to {place}: {reason}; kept in {box.folder}", flush=True)
            box.close()


def _deliver(box: Outbox) -> None:
    delivery = Delivery(box)
    if box.records() or delivery.find_run():
        _end(box)
        records = box.undelivered()
        for record in records:
            delivery.deliver(record, repeated=True)
        count = counted(len(records), "record")
        print(f"{box.header.name}: {count} of run {box.header.run_id} delivered", flush=True)
    box.delete()


def _end(box: Outbox) -> None:
    """End a run that its process has not ended: a new one as KILLED, a resumed one as it was."""
    if not any(record.kind == "end" for record in box.records()):
        end_time = box.header.end_time or box.last_written()
        box.append("end", {"status": box.header.status or "KILLED", "end_time": end_time})
