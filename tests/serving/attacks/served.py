"""A served process under attack: its processes and their memory, and good requests sent meanwhile."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import psutil
import yaml

from tests.serving.attacks.delays import ATTEMPTS, MAX_DELAY, PNG, SMALL, queued
from tests.serving.conftest import ROOT, Served

TIMEOUT = 90.0  # seconds, more than those of the service
Request = tuple[str, bytes, dict[str, str]]  # path, body, headers


def processes(served: Served) -> list[psutil.Process]:
    parent = psutil.Process(served.process.pid)
    return [parent, *parent.children(recursive=True)]


def memory(served: Served) -> int:
    """Resident bytes of all processes, with what they share counted once for each."""
    total = 0
    for process in processes(served):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def limit() -> int:
    """The memory that the manifest gives a pod, in bytes."""
    manifest = yaml.safe_load_all(
        (ROOT / "serving" / "deploy" / "kubernetes" / "base" / "tandem.yaml").read_text("utf-8")
    )
    pod = next(each for each in manifest if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    return int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Mi")) << 20


def attack(served: Served, hostile: Sequence[Request]) -> tuple[list[httpx.Response], float, int]:
    """The responses to requests sent at once; the longest time of a good request and the most memory meanwhile.

    The attempt with the shortest time of 3, as the machine may be busy with other work.
    """
    for _ in range(ATTEMPTS):
        responses, longest, most = _attack(served, hostile)
        if longest <= MAX_DELAY:
            break
    return responses, longest, most


def _attack(served: Served, hostile: Sequence[Request]) -> tuple[list[httpx.Response], float, int]:
    longest, most = 0.0, 0
    with ThreadPoolExecutor(len(hostile)) as pool, httpx.Client(base_url=served.url, timeout=30) as client:
        futures: list[Future[httpx.Response]] = [pool.submit(send, served, *each) for each in hostile]
        wait = _answer_time(client, served)
        while not all(future.done() for future in futures):
            longest = max(longest, wait())
            most = max(most, memory(served))
        return [future.result() for future in futures], longest, most


def send(served: Served, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{served.url}{path}", content=content, headers=headers, timeout=TIMEOUT)


def _answer_time(client: httpx.Client, served: Served) -> Callable[[], float]:
    """Sends good requests, one after another, and returns the longest time until an answer."""
    good = (
        client.build_request("GET", "/livez"),
        client.build_request("POST", "/predict/image", content=SMALL, headers=PNG),
    )

    worker = str(psutil.Process(served.process.pid).children()[0].pid)

    def now() -> float:
        return time.monotonic() - queued() - queued(worker)

    def wait() -> float:
        longest = 0.0
        for request in good:
            started = now()
            response = client.send(request)
            longest = max(longest, now() - started)
            assert response.status_code == 200, response.text
        return longest

    return wait
