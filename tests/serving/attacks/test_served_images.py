"""The served process under hostile and under large images: liveness, memory, and no process that is left behind."""

import signal
from collections.abc import Iterator

import httpx
import psutil
import pytest
from PIL import Image

from tests.models.hostile_images import HOSTILE
from tests.models.images.test_image import encode
from tests.serving.attacks.delays import MAX_DELAY, PNG, SMALL
from tests.serving.attacks.served import attack, limit
from tests.serving.attacks.served import send as post
from tests.serving.bundles import DIGITS, weights, write
from tests.serving.conftest import PATIENCE, Served, serve, wait_for


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With one worker, as in the manifest."""
    home = tmp_path_factory.mktemp("images")
    with serve(write(home / "champion", weights(DIGITS)), home / "bentoml", TANDEM_WORKERS="1") as running:
        yield running


def decoders(served: Served) -> list[psutil.Process]:
    """The parents of the processes that decode, one for each worker."""
    workers = psutil.Process(served.process.pid).children()
    found = [child for worker in workers for child in worker.children()]
    return [each for each in found if "serving.scheduling.image_process" in each.cmdline()]


def send(served: Served, content: bytes) -> httpx.Response:
    return post(served, "/predict/image", content, PNG)


def test_hostile_images_all_at_once(service: Served) -> None:
    files = [make() for make, _ in HOSTILE.values()]
    before = service.output.stat().st_size
    responses, longest, most = attack(service, [("/predict/image", content, PNG) for content in files])
    assert [response.status_code for response in responses] == [
        400 if reason else 200 for _, reason in HOSTILE.values()
    ]
    assert longest <= MAX_DELAY
    assert most < limit()
    assert service.output.stat().st_size - before < 1000


def test_the_largest_images_all_at_once(service: Served) -> None:
    """They are decoded one after another, however long it takes beside other work on the machine.

    The process that decodes them shares the manifest's memory.
    """
    shapes = {"PNG": "RGBA", "WEBP": "RGBA", "JPEG": "CMYK"}
    files = [
        encode(Image.new(mode, (4600, 3478), (1, 2, 3, 4)), kind, progressive=True) for kind, mode in shapes.items()
    ]
    responses, longest, most = attack(service, [("/predict/image", content, PNG) for content in files * 2])
    assert [response.status_code for response in responses] == [200] * 6
    assert longest <= MAX_DELAY
    assert most < limit()


def test_a_killed_decoder_is_replaced(service: Served) -> None:
    large = encode(Image.new("L", (2000, 2000)))
    assert send(service, large).status_code == 200
    (killed,) = decoders(service)
    killed.kill()
    wait_for(lambda: killed.status() == psutil.STATUS_ZOMBIE)  # until then its children answer; the worker reaps it
    assert send(service, large).status_code == 200
    (replacement,) = decoders(service)
    assert replacement.pid != killed.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_ends_takes_its_decoder_with_it_and_is_replaced(service: Served, number: int) -> None:
    (decoder,) = decoders(service)
    worker = decoder.parent()
    assert worker
    worker.send_signal(number)
    assert psutil.wait_procs([worker, decoder], timeout=PATIENCE)[1] == []
    assert send(service, SMALL).status_code == 200
    (replacement,) = decoders(service)
    assert replacement.parent() != worker
