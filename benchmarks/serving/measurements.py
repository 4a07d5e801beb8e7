"""Measurements, one record for each server, payload, number of connections and round, and their medians."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from benchmarks.serving.load import Measured

OWN, WRK = "benchmark", "wrk"  # clients


@dataclass(frozen=True)
class Cell:
    """A compared case: `images` in each request, for the model trained on `data`, sent by `client`."""

    data: str
    payload: str
    images: int
    connections: int
    server: str
    client: str = OWN


@dataclass(frozen=True)
class Record:
    """One round. `server_us` is the CPU time of the server's processes per request, `client_us` that of the client."""

    cell: Cell
    round: int
    per_second: float
    p50_ms: float
    p99_ms: float
    server_us: float
    client_us: float
    answered: int
    checked: int
    errors: int
    first_error: str = ""


@dataclass(frozen=True)
class Plan:
    """The extent of the measurement. `flat_requests` are sent in four parts to detect a growth of memory."""

    rounds: int = 5
    seconds: float = 1.0
    connections: tuple[int, ...] = (1, 8, 32, 64)
    champion_connections: tuple[int, ...] = (32,)
    batch_connections: tuple[int, ...] = (8, 32)
    alone_seconds: float = 1.0
    flat_requests: int = 100_000


@dataclass
class Results:
    """All measurements; `alone` in images per second by data and round."""

    plan: Plan
    machine: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    alone: dict[str, list[float]] = field(default_factory=dict)
    servers: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def record(cell: Cell, number: int, measured: Measured, server_seconds: float) -> Record:
    """The record of one job."""
    each = 1e6 / max(1, measured.answered)
    return Record(
        cell,
        number,
        measured.per_second,
        measured.p50_ms,
        measured.p99_ms,
        server_seconds * each,
        measured.client_seconds * each,
        measured.answered,
        measured.checked,
        measured.errors + measured.refused,
        measured.first_error,
    )


def medians(records: Iterable[Record]) -> dict[Cell, Record]:
    """The median of each figure over the rounds; answers, checks and errors are added up."""
    rounds: defaultdict[Cell, list[Record]] = defaultdict(list)
    for each in records:
        rounds[each.cell].append(each)
    return {cell: _median(found) for cell, found in rounds.items()}


def _median(found: list[Record]) -> Record:
    return replace(
        found[0],
        round=len(found),
        per_second=median(each.per_second for each in found),
        p50_ms=median(each.p50_ms for each in found),
        p99_ms=median(each.p99_ms for each in found),
        server_us=median(each.server_us for each in found),
        client_us=median(each.client_us for each in found),
        answered=sum(each.answered for each in found),
        checked=sum(each.checked for each in found),
        errors=sum(each.errors for each in found),
        first_error=next((each.first_error for each in found if each.first_error), ""),
    )


def worse(found: dict[Cell, Record]) -> dict[Cell, Record]:
    """For each case the records of the client with fewer requests per second."""
    slowest: dict[Cell, Record] = {}
    for cell, each in found.items():
        place = replace(cell, client=OWN)
        if place not in slowest or each.per_second < slowest[place].per_second:
            slowest[place] = replace(each, cell=place)
    return slowest


def best_peer(found: dict[Cell, Record], of: Cell) -> Record | None:
    """The peer with the most requests per second in the same case as `of`, among those without errors."""
    peers = [
        each
        for cell, each in found.items()
        if cell.server != of.server and replace(cell, server=of.server) == of and not each.errors
    ]
    return max(peers, key=lambda each: each.per_second, default=None)
