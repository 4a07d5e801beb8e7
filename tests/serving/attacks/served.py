"""A served process under attack: its processes and their memory, and good requests sent meanwhile."""

import contextlib
import http.client
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import psutil
import yaml

from tests.serving.attacks.delays import ATTEMPTS, MAX_DELAY, PNG, SMALL, Stopwatch
from tests.serving.conftest import PATIENCE, ROOT, Served

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

    The attempt with the shortest time of 5, as the machine may be busy with other work.
    """
    for _ in range(ATTEMPTS):
        responses, longest, most = _attack(served, hostile)
        if longest <= MAX_DELAY:
            break
    return responses, longest, most


def flood(served: Served, *requests: str, connections: int = 300, responses: int = 300) -> float:
    """Send the requests, each as `METHOD PATH`, over so many connections until each has so many responses.

    The longest time of a good request meanwhile: the least of 5 attempts.
    """
    arguments = (str(httpx.URL(served.url).port), str(connections), str(responses), *requests)
    command = [sys.executable, "-m", "tests.serving.attacks.client", *arguments]
    for _ in range(ATTEMPTS):
        longest = 0.0
        with httpx.Client(base_url=served.url) as client:
            wait = answer_time(client, served)
            with subprocess.Popen(command, cwd=ROOT) as process:
                while process.poll() is None:
                    longest = max(longest, wait())
            assert process.returncode == 0
        if longest <= MAX_DELAY:
            break
    return longest


def _attack(served: Served, hostile: Sequence[Request]) -> tuple[list[httpx.Response], float, int]:
    longest, most = 0.0, 0
    with ThreadPoolExecutor(len(hostile)) as pool, httpx.Client(base_url=served.url) as client:
        futures: list[Future[httpx.Response]] = [pool.submit(send, served, *each) for each in hostile]
        wait = answer_time(client, served)
        while not all(future.done() for future in futures):
            longest = max(longest, wait())
            most = max(most, memory(served))
        return [future.result() for future in futures], longest, most


def send(served: Served, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{served.url}{path}", content=content, headers=headers)


def _status_of_new_connection(served: Served) -> int:
    url = httpx.URL(served.url)
    with contextlib.closing(http.client.HTTPConnection(url.host, url.port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/livez")
        return connection.getresponse().status


def answer_time(client: httpx.Client, served: Served) -> Callable[[], float]:
    """Sends good requests, one after another, and returns the longest time until an answer, infinite after a 503.

    The last one opens a connection, as each of Kubernetes' probes does.
    """
    good = (
        client.build_request("GET", "/livez"),
        client.build_request("POST", "/predict/image", content=SMALL, headers=PNG),
    )

    def wait() -> float:
        longest = 0.0
        for request in good:
            stopwatch = Stopwatch(served.process.pid)
            response = client.send(request)
            longest = max(longest, stopwatch.seconds() if response.status_code != 503 else math.inf)
            assert response.status_code in (200, 503), response.text
        stopwatch = Stopwatch(served.process.pid)
        assert _status_of_new_connection(served) == 200
        return max(longest, stopwatch.seconds())

    return wait
