"""The results as Markdown: aims and measured values, then the figures of each server."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from tabulate import tabulate

from benchmarks.serving.measurements import OWN, Cell, Record, Results, best_peer, medians, worse
from benchmarks.serving.payloads import BINARY, FORM, JSON, PAYLOADS, PNG

US = "Tandem"
SPEEDUPS = {BINARY: 1.5, JSON: 1.3, PNG: 1.3, FORM: 1.3}
JUDGED_CONNECTIONS = 32
SHARE_OF_ALONE = 0.7
READY_SECONDS = 5.0
WORKER_MEGABYTES = 200.0
FLAT_MEGABYTES = 5.0


class Target(NamedTuple):
    """One aim."""

    what: str
    aim: str
    measured: str
    met: bool


def write(results: Results) -> str:
    """The whole report."""
    found = medians(results.records)
    parts = [_about(results), _client(found), _targets(results, found)]
    for data in dict.fromkeys(cell.data for cell in found):
        parts += [f"### {data}, one image per request", _table(worse(found), data)]
    parts += [f"### Binary requests of {_images(found)} images", _batches(results, found)]
    parts += ["### Start and memory", _starts(results)]
    if results.missing:
        parts += ["Not measured, because it did not start or gave wrong answers:", "\n".join(results.missing)]
    return "\n\n".join(parts) + "\n"


def targets(results: Results, found: dict[Cell, Record]) -> Iterator[Target]:
    """Each aim with its measured value, if there is one."""
    for cell, ours in found.items():
        peer = best_peer(found, cell)
        judged = cell.images == 1 and cell.connections == judged_connections(_connections(found, cell.data))
        if cell.server == US and judged and peer is not None:
            yield from _beside(cell, ours, peer)
    for data, speeds in results.alone.items():
        yield _share(data, median(speeds), found)
    started = [each for each in results.servers if each["server"] == US]
    for each in started:
        seconds = each["ready_seconds"]
        aim = f"≤ {READY_SECONDS:g} s"
        yield Target(f"{each['data']}: start to ready", aim, f"{seconds:.1f} s", seconds <= READY_SECONDS)
    if results.memory:
        yield from _memory(results.memory)


def _beside(cell: Cell, ours: Record, peer: Record) -> Iterator[Target]:
    what = f"{cell.data}: {cell.payload}, {cell.connections} connections of {cell.client}"
    ratio = ours.per_second / peer.per_second
    aim = SPEEDUPS[cell.payload]
    measured = f"{ratio:.2f} × {peer.cell.server}"
    yield Target(f"{what}, requests/s", f"≥ {aim:g} × best peer", measured, ratio >= aim)
    measured = f"{ours.p99_ms:.1f} ms against {peer.p99_ms:.1f} ms"
    yield Target(f"{what}, p99", "no worse than best peer", measured, ours.p99_ms <= peer.p99_ms)


def _share(data: str, alone: float, found: dict[Cell, Record]) -> Target:
    """The best number of connections against ONNX Runtime alone."""
    ours = [each for cell, each in found.items() if cell.server == US and cell.data == data and cell.images > 1]
    best = max(each.per_second * each.cell.images for each in ours)
    share = best / alone
    measured = f"{share:.0%}: {best:,.0f} of {alone:,.0f} images/s"
    return Target(
        f"{data}: binary, {ours[0].cell.images} images",
        f"≥ {SHARE_OF_ALONE:.0%} of ONNX Runtime alone",
        measured,
        share >= SHARE_OF_ALONE,
    )


def _memory(memory: list[dict[str, float]]) -> Iterator[Target]:
    sizes = [each["worker_megabytes"] for each in memory]
    grown = sizes[-1] - sizes[1]
    aim = f"≤ {WORKER_MEGABYTES:g} MB"
    yield Target("resident memory of a worker", aim, f"{max(sizes):.0f} MB", max(sizes) <= WORKER_MEGABYTES)
    what = f"the same, from {memory[1]['requests']:,.0f} to {memory[-1]['requests']:,.0f} requests"
    yield Target(what, "flat", f"{grown:+.1f} MB", grown <= FLAT_MEGABYTES)


def _about(results: Results) -> str:
    plan, found = results.plan, results.machine
    versions = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    return (
        f"Measured on {found['processor']}, client and servers on the same {found['pinned']} cores, Python "
        f"{found['python']}: {plan.rounds} rounds of {plan.seconds:g} s over the servers in turn, medians. "
        f"Every server has {found['pinned']} workers with one ONNX Runtime thread each. {versions}."
    )


def _targets(results: Results, found: dict[Cell, Record]) -> str:
    rows = [(each.what, each.aim, each.measured, "yes" if each.met else "**no**") for each in targets(results, found)]
    return tabulate(rows, ("what", "aim", "measured", "met"), "github")


def _table(found: dict[Cell, Record], data: str) -> str:
    """A row for each payload and server: requests/s by connections; the rest at the connections of the aims."""
    mine = {cell: each for cell, each in found.items() if cell.data == data and cell.images == 1}
    connections = _connections(found, data)
    judged = judged_connections(connections)
    rows = []
    for payload in PAYLOADS:
        names = dict.fromkeys(cell.server for cell in mine if cell.payload == payload)
        for server in sorted(names, key=lambda name: -mine[Cell(data, payload, 1, judged, name)].per_second):
            cells = [mine[Cell(data, payload, 1, count, server)] for count in connections]
            at = mine[Cell(data, payload, 1, judged, server)]
            errors = sum(each.errors for each in cells)
            speeds = [f"{each.per_second:,.0f}" for each in cells]
            rows.append([payload, server, *speeds, f"{at.p50_ms:.1f} / {at.p99_ms:.1f}", f"{at.server_us:.0f}", errors])
    heads = [f"{count} conn." for count in connections]
    last = [f"p50 / p99 ms, {judged} conn.", "server CPU µs", "errors"]
    right = ("left", "left", *("right" for _ in heads), "right", "right", "right")
    return "Requests a second:\n\n" + tabulate(rows, ["payload", "server", *heads, *last], "github", colalign=right)


def _connections(found: dict[Cell, Record], data: str) -> list[int]:
    """The numbers of connections with one image per request."""
    return sorted({cell.connections for cell in found if cell.data == data and cell.images == 1})


def judged_connections(connections: Sequence[int]) -> int:
    """The number of connections of the aims; in a quick run, the largest one."""
    return JUDGED_CONNECTIONS if JUDGED_CONNECTIONS in connections else connections[-1]


def _client(found: dict[Cell, Record]) -> str:
    """The CPU time of the client."""
    costs = [each.client_us for cell, each in found.items() if cell.images == 1 and cell.client == OWN]
    checked = sum(each.checked for each in found.values())
    answered = sum(each.answered for each in found.values())
    return (
        f"The status of all {answered:,} answers was checked, and the numbers of {checked:,}. The client took "
        f"{min(costs):.0f} to {max(costs):.0f} µs of CPU time for a request of one image, on the same cores. "
        "Servers without a row for a payload do not support it. Where `wrk` has sent the same requests, the tables "
        "have the slower of both clients."
    )


def _batches(results: Results, found: dict[Cell, Record]) -> str:
    rows = []
    for data, speeds in results.alone.items():
        rows.append([data, "ONNX Runtime alone", "", f"{median(speeds):,.0f}", "", "", ""])
        mine = [each for cell, each in found.items() if cell.data == data and cell.images > 1]
        for each in sorted(mine, key=lambda one: (one.cell.connections, one.cell.server != US)):
            speed = each.per_second * each.cell.images
            share = f"{speed / median(speeds):.0%}"
            cell = each.cell
            rows.append(
                [
                    data,
                    cell.server,
                    str(cell.connections),
                    f"{speed:,.0f}",
                    share,
                    f"{each.server_us:.0f}",
                    f"{each.client_us:.0f}",
                ]
            )
    heads = ["data", "server", "connections", "images/s", "of alone", "server CPU µs", "client CPU µs"]
    return tabulate(rows, heads, "github", colalign=("left", "left", *["right"] * 5), disable_numparse=True)


def _images(found: dict[Cell, Record]) -> int:
    return max(cell.images for cell in found)


def _starts(results: Results) -> str:
    rows = [
        [
            each["data"],
            each["server"],
            f"{each['ready_seconds']:.1f}",
            f"{each['worker_megabytes']:.0f}",
            f"{each['megabytes']:.0f}",
        ]
        for each in results.servers
    ]
    heads = ["data", "server", "start to ready, s", "largest process, MB", "all its processes, MB"]
    table = tabulate(rows, heads, "github", disable_numparse=True, colalign=("left", "left", "right", "right", "right"))
    line = ", ".join(f"{each['worker_megabytes']:.0f} MB after {each['requests']:,.0f}" for each in results.memory)
    return f"{table}\n\nA worker of Tandem under requests of every kind: {line}."
