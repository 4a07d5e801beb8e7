"""Throughput and latency of Tandem and of other servers: `uv run --group benchmarks python -m benchmarks.serving`.

The client and all servers share two cores. Each round measures all servers in turn, so that other load on the machine
affects all of them; medians over the rounds are reported. Where `wrk` is installed, it sends the requests of 32
connections too, and the slower of both clients is reported.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from benchmarks import machine, output
from benchmarks.paths import REPOSITORY, RESULTS
from benchmarks.serving import alone, champions, load, report, servers, wrk
from benchmarks.serving.champions import Served
from benchmarks.serving.jobs import batches, make_job
from benchmarks.serving.measurements import OWN, WRK, Cell, Plan, Results, record
from benchmarks.serving.payloads import BINARY, JSON, PAYLOADS, PNG
from benchmarks.serving.servers import NotStartedError, Running

Thing = TypeVar("Thing")
CORES = 2
BATCH = 32
MEASURES = {OWN: load.measure, WRK: wrk.measure}
CHAMPION = REPOSITORY / "artifacts" / "champion"
QUICK = Plan(1, 0.2, (1, 8), (8,), (8,), 0.2, 2_000)


def main() -> None:
    """Measure, and write `serving.json` and `serving.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute; the figures are not comparable")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    results = measure(QUICK if options.quick else Plan())
    raw = asdict(results) | {"measured": datetime.now(UTC).isoformat(timespec="seconds")}
    output.write(options.output, "serving", raw, report.write(results))


def measure(plan: Plan) -> Results:
    """All measurements, in the order of the report."""
    workers = machine.pin(CORES)
    results = Results(plan, machine.describe() | {"pinned": workers})
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        spawn = get_context("spawn")
        client = stack.enter_context(ProcessPoolExecutor(1, spawn))
        runtimes = stack.enter_context(ProcessPoolExecutor(workers, spawn))
        bench = Bench(results, client, runtimes, workers)
        fashion = champions.make_fashion(home / "fashion")
        running = [*bench.start(stack, servers.EVERY, fashion, home)]
        bench.compare(running, fashion, PAYLOADS, plan.connections)
        bench.batches(running[:2], fashion)
        served = fashion
        if CHAMPION.exists():
            served = champions.read(Path(shutil.copytree(CHAMPION, home / "champion")))
            running = [*bench.start(stack, servers.EVERY[:2], served, home)]
            bench.compare(running, served, PAYLOADS, plan.champion_connections)
            bench.batches(running, served)
        bench.flat(running[0], served)
    return results


@dataclass(frozen=True)
class Bench:
    """The measuring processes: one client, and as many processes with ONNX Runtime alone as a server has workers."""

    results: Results
    client: Executor
    runtimes: Executor
    workers: int

    def start(self, stack: ExitStack, kinds: Sequence[servers.Kind], served: Served, home: Path) -> Iterator[Running]:
        """Start one server after the other, and leave them running; what cannot be started is noted."""
        for kind in _shown(kinds, "start"):
            server = kind(served, self.workers, home)
            try:
                running = stack.enter_context(servers.run(server, home / f"{served.spec.name}-{server.name}.log"))
                self._check(running, served)
            except NotStartedError as error:
                tqdm.write(str(error), sys.stderr)
                self.results.missing.append(str(error).splitlines()[0])
                continue
            self.results.servers.append(
                {
                    "server": server.name,
                    "data": served.spec.name,
                    "ready_seconds": running.ready_seconds,
                    "worker_megabytes": running.worker_megabytes(),
                    "megabytes": running.megabytes(),
                }
            )
            yield running

    def compare(
        self, running: list[Running], served: Served, payloads: Sequence[str], connections: Sequence[int]
    ) -> None:
        """Requests of one picture: every payload, every number of connections, every server, round by round."""
        clients = {count: [OWN] for count in connections}
        if wrk.is_installed():
            clients[report.judged_connections(connections)].append(WRK)
        todo = [
            (number, payload, count, client, each)
            for number in range(self.results.plan.rounds)
            for payload in payloads
            for count in connections
            for client in clients[count]
            for each in _turned(running, number)
            if payload in each.server.calls
        ]
        for number, payload, count, client, each in _shown(todo, f"{served.spec.name}, 1 image"):
            self._round(each, served, payload, 1, count, number, client)

    def batches(self, running: list[Running], served: Served) -> None:
        """Binary requests of many pictures, and ONNX Runtime alone between them."""
        plan = self.results.plan
        images = batches(served, BATCH)
        alone.prepare(self.runtimes, self.workers, served)
        speeds = self.results.alone.setdefault(served.spec.name, [])
        for number in _shown(range(plan.rounds), f"{served.spec.name}, {BATCH} images"):
            speeds.append(alone.images_per_second(self.runtimes, self.workers, served, images, plan.alone_seconds))
            for count in plan.batch_connections:
                for each in _turned(running, number):
                    self._round(each, served, BINARY, BATCH, count, number)

    def flat(self, running: Running, served: Served) -> None:
        """Many requests, and the worker's memory before, between and after."""
        most = self.results.plan.flat_requests // 4
        done = 0
        for payload in _shown((None, BINARY, JSON, PNG, BINARY), "memory"):
            if payload:
                job = replace(make_job(running, served, payload, 1, 32, 60.0), most=most)
                done += self.client.submit(load.measure, job).result().answered
            self.results.memory.append({"requests": done, "worker_megabytes": running.worker_megabytes()})

    def _check(self, running: Running, served: Served) -> None:
        """Ask once with each payload. Raises NotStartedError where an answer is wrong: its speed would mean nothing."""
        for payload in running.server.calls:
            job = replace(make_job(running, served, payload, 1, 1, 10.0), most=load.CHECK_EVERY + 1)
            found = self.client.submit(load.measure, job).result()
            if found.errors or not found.checked:
                raise NotStartedError(f"{running.server.name}, {payload}: {found.errors} errors: {found.first_error}")

    def _round(
        self,
        running: Running,
        served: Served,
        payload: str,
        images: int,
        connections: int,
        number: int,
        client: str = OWN,
    ) -> None:
        """Measure one server once."""
        job = make_job(running, served, payload, images, connections, self.results.plan.seconds)
        before = running.cpu_seconds()
        measured = self.client.submit(MEASURES[client], job).result()
        used = running.cpu_seconds() - before
        cell = Cell(served.spec.name, payload, images, connections, running.server.name, client)
        self.results.records.append(record(cell, number, measured, used))


def _shown(things: Iterable[Thing], what: str) -> Iterator[Thing]:
    """The items, with a progress bar on a terminal."""
    return iter(tqdm(things, what, leave=False, disable=None))


def _turned(running: list[Running], number: int) -> list[Running]:
    """The servers in a different order each round, so that none always follows the slowest one."""
    start = number % max(1, len(running))
    return running[start:] + running[:start]


if __name__ == "__main__":
    main()
