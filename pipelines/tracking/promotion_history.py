"""History of the champion in the model registry: a tag of the version for each time that it became champion."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pipelines.tracking import model_registry, store
from pipelines.tracking.client import mlflow
from pipelines.tracking.model_registry import ModelVersion

PREFIX = "champion_since."
ROLLBACK_PREFIX = "rollback: "  # of the reason of such an event
ROLLED_BACK = "rolled_back"  # a tag, whose value is the reason: `promote` rejects this graph


@dataclass(frozen=True)
class Event:
    """A version that became champion at `time` (ISO 8601, UTC), in place of the version `replaces`, if any."""

    version: str
    time: str
    replaces: str | None
    reason: str


def events(versions: Sequence[ModelVersion]) -> list[Event]:
    """The history that the tags of these versions record, the oldest event first."""
    recorded = [
        Event(version.version, **json.loads(value))
        for version in versions
        for key, value in version.tags.items()
        if key.startswith(PREFIX)
    ]
    return sorted(recorded, key=lambda event: event.time)


def rolled_back(versions: Sequence[ModelVersion]) -> dict[str, str]:
    """For each SHA-256 of a graph whose latest version was rolled back, that version and the reason."""
    latest = {version.tags["sha256"]: version for version in versions if "sha256" in version.tags}
    return {
        sha256: f"rolled back as version {version.version}: {version.tags[ROLLED_BACK]}"
        for sha256, version in latest.items()
        if ROLLED_BACK in version.tags
    }


def promote(version: ModelVersion, replaced: ModelVersion | None, reason: str) -> None:
    """Move the alias `champion` and record the event.

    Raises InputError if the store does not respond; what could be changed is then changed back.
    """
    event = {"time": _time(replaced), "replaces": replaced.version if replaced else None, "reason": reason}
    with _tagged(version, f"{PREFIX}{uuid4().hex[:8]}", json.dumps(event)):
        model_registry.set_alias(version, model_registry.CHAMPION)


def _time(replaced: ModelVersion | None) -> str:
    """The present time, or a later one that keeps the order if the clock is behind the event that is replaced."""
    times = [datetime.now(UTC)]
    if replaced and (earlier := events([replaced])):
        times.append(datetime.fromisoformat(earlier[-1].time) + timedelta(milliseconds=1))
    return max(times).isoformat(timespec="milliseconds")


def roll_back(version: ModelVersion, replaced: ModelVersion, reason: str) -> None:
    """As `promote`; `replaced` is not to be promoted again, and `version`, if it was rolled back before, may be."""
    with ExitStack() as stack:
        stack.enter_context(_tagged(replaced, ROLLED_BACK, reason))
        if ROLLED_BACK in version.tags:
            stack.enter_context(_tagged(version, ROLLED_BACK, None))
        promote(version, replaced, f"{ROLLBACK_PREFIX}{reason}")


@contextmanager
def _tagged(version: ModelVersion, key: str, value: str | None) -> Iterator[None]:
    """Set or, with None, delete a tag; undone after an exception in the block."""
    _set_tag(version, key, value)
    try:
        yield
    except BaseException:
        _set_tag(version, key, version.tags.get(key))
        raise


def _set_tag(version: ModelVersion, key: str, value: str | None) -> None:
    client = mlflow.MlflowClient()
    with store.errors_reported():
        if value is None:
            client.delete_model_version_tag(version.name, version.version, key)
        else:
            client.set_model_version_tag(version.name, version.version, key, value)
