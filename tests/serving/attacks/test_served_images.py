"""The served process under hostile and under large images: liveness, memory, and no process that is left behind."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from PIL import Image

from tests.models.hostile_images import HOSTILE
from tests.models.test_image import encode
from tests.serving.attacks.delays import MAX_DELAY, PNG, SMALL
from tests.serving.bundles import DIGITS, weights, write
from tests.serving.conftest import ROOT, Served, serve

ATTEMPTS = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With one worker, as in the manifest."""
    home = tmp_path_factory.mktemp("images")
    with serve(write(home / "champion", weights(DIGITS)), home / "bentoml", TANDEM_WORKERS="1") as running:
        yield running


def processes(served: Served) -> list[psutil.Process]:
    parent = psutil.Process(served.process.pid)
    return [parent, *parent.children(recursive=True)]


def decoders(served: Served) -> list[psutil.Process]:
    """The parents of the processes that decode, one for each worker."""
    workers = psutil.Process(served.process.pid).children()
    found = [child for worker in workers for child in worker.children()]
    return [each for each in found if "serving.scheduling.image_process" in each.cmdline()]


def memory(served: Served) -> int:
    """Resident bytes of all processes, with what they share counted once for each."""
    total = 0
    for process in processes(served):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def send(served: Served, content: bytes) -> httpx.Response:
    return httpx.post(f"{served.url}/predict/image", content=content, headers=PNG, timeout=30)


def watch(served: Served, hostile: list[bytes]) -> tuple[list[httpx.Response], float, int]:
    """The responses to them, sent at once; the longest time of a good request, and the most memory, meanwhile."""
    longest, most = 0.0, 0
    with ThreadPoolExecutor(len(hostile)) as pool, httpx.Client(base_url=served.url, timeout=30) as client:
        futures: list[Future[httpx.Response]] = [pool.submit(send, served, content) for content in hostile]
        while not all(future.done() for future in futures):
            for request in (
                client.build_request("GET", "/livez"),
                client.build_request("POST", "/predict/image", content=SMALL, headers=PNG),
            ):
                started = time.monotonic()
                assert client.send(request).status_code == 200
                longest = max(longest, time.monotonic() - started)
            most = max(most, memory(served))
        return [future.result() for future in futures], longest, most


def limit() -> int:
    """The memory that the manifest gives a pod, in bytes."""
    manifest = yaml.safe_load_all((ROOT / "serving" / "deploy" / "kubernetes.yaml").read_text("utf-8"))
    pod = next(each for each in manifest if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    return int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Mi")) << 20


def test_hostile_images_all_at_once(service: Served) -> None:
    files = [make() for make, _ in HOSTILE.values()]
    before = service.output.stat().st_size
    for _ in range(ATTEMPTS):
        responses, longest, most = watch(service, files)
        if longest <= MAX_DELAY:
            break
    assert [response.status_code for response in responses] == [
        400 if reason else 200 for _, reason in HOSTILE.values()
    ]
    assert longest <= MAX_DELAY
    assert most < limit()
    assert service.output.stat().st_size - before < 1000


def test_the_largest_images_all_at_once(service: Served) -> None:
    """They are decoded one after another; the process that decodes them shares the manifest's memory."""
    shapes = {"PNG": "RGBA", "WEBP": "RGBA", "JPEG": "CMYK"}
    files = [
        encode(Image.new(mode, (4600, 3478), (1, 2, 3, 4)), kind, progressive=True) for kind, mode in shapes.items()
    ]
    for _ in range(ATTEMPTS):
        responses, longest, most = watch(service, files * 2)
        if longest <= MAX_DELAY:
            break
    assert [response.status_code for response in responses] == [200] * 6
    assert longest <= MAX_DELAY
    assert most < limit()


def test_a_killed_decoder_is_replaced(service: Served) -> None:
    large = encode(Image.new("L", (2000, 2000)))
    assert send(service, large).status_code == 200
    (killed,) = decoders(service)
    killed.kill()
    assert send(service, large).status_code == 200
    (replacement,) = decoders(service)
    assert replacement.pid != killed.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_decoder_ends_with_its_worker(tmp_path: Path, number: int) -> None:
    with serve(write(tmp_path / "champion", weights(DIGITS)), tmp_path / "home", TANDEM_WORKERS="1") as served:
        (decoder,) = decoders(served)
        worker = decoder.parent()
        assert worker
        worker.send_signal(number)
        psutil.wait_procs([decoder], timeout=10)
        assert not decoder.is_running()


def test_the_decoder_ends_with_the_service(tmp_path: Path) -> None:
    with serve(write(tmp_path / "champion", weights(DIGITS)), tmp_path / "home", TANDEM_WORKERS="2") as served:
        deadline = time.monotonic() + 30
        while len(decoders(served)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        everything = processes(served)
    psutil.wait_procs(everything, timeout=10)
    assert not [each for each in everything if each.is_running()]
