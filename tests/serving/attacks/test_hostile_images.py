"""Images that are expensive to decode: each is rejected with its reason, or decoded, and delays no other request."""

import asyncio
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.models.hostile_images import HOSTILE
from tests.models.images.test_image import encode
from tests.serving.attacks.delays import MAX_DELAY, PNG, SMALL, attack, form, noise
from tests.serving.conftest import Local

Make = Callable[..., Local]


@pytest.mark.parametrize("path", ["/predict/image", "/predict/activations"])
@pytest.mark.parametrize("name", HOSTILE)
def test_others_are_not_delayed(digits: Path, local: Make, name: str, path: str) -> None:
    make, reason = HOSTILE[name]
    (response,), longest = attack(local(digits), ("POST", path, {"content": make(), "headers": PNG}))
    assert longest <= MAX_DELAY
    if path == "/predict/activations":
        assert response.status_code < 500
        return
    assert response.status_code == (400 if reason else 200), response.text
    assert re.search(reason, response.text), response.text


def test_many_files_of_one_form(digits: Path, local: Make) -> None:
    """64 files with as much compressed text as is allowed in each."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Title", "x" * 262_000, zip=True)
    (response,), longest = attack(
        local(digits), ("POST", "/predict/image", form(*[encode(Image.new("L", (8, 8)), pnginfo=text)] * 64))
    )
    assert response.status_code == 200
    assert longest <= MAX_DELAY


def test_nothing_is_written_to_the_log(digits: Path, local: Make, capfd: pytest.CaptureFixture[str]) -> None:
    service = local(digits)
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of objects that other tests have left
        for make, _ in HOSTILE.values():
            service.post("/predict/image", content=make(), headers=PNG)
    assert not recorded
    assert capfd.readouterr() == ("", "")


def test_slow_images_do_not_delay_a_photograph(digits: Path, local: Make) -> None:
    """Of a photograph and images of 16 megapixels that were sent before, the photograph is not the last answered."""
    service = local(digits)
    slow = encode(Image.new("RGBA", (4000, 4000), (1, 2, 3, 4)))
    photograph = encode(noise(800, 600).resize((4000, 3000)), "JPEG", quality=50)
    assert service.post("/predict/image", content=photograph, headers=PNG).status_code == 200

    async def go() -> tuple[bool, list[int]]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=PNG) as client:
            tasks = [asyncio.create_task(client.post("/predict/image", content=slow)) for _ in range(3)]
            await asyncio.sleep(0)
            good = await client.post("/predict/image", content=photograph)
            done = all(task.done() for task in tasks)
            return done, [response.status_code for response in (good, *await asyncio.gather(*tasks))]

    assert asyncio.run(go()) == (False, [200] * 4)


LARGE = encode(Image.new("RGBA", (1500, 1500), (1, 2, 3, 4)))


def test_large_images_have_more_time(digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for their turn, however long the time limit of other requests is."""
    monkeypatch.setattr("serving.scheduling.image_decoder.QUICK_COST", 0)

    async def go(service: Local) -> httpx.Response:
        """The response to the last of those that are sent at once."""
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=PNG) as client:
            tasks = [asyncio.create_task(client.post("/predict/image", content=LARGE)) for _ in range(3)]
            while not all(task.done() for task in tasks):
                service.worker.deadlines.cancel_expired()
                await asyncio.sleep(0.001)
            return tasks[-1].result()

    assert asyncio.run(go(local(digits, timeout_seconds=1e-3))).status_code == 200
    response = asyncio.run(go(local(digits, timeout_seconds=1e-3, turn_seconds=2e-3)))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"] == "no answer within 0.003 s; try again in a second"


def test_large_images_are_no_load_for_others(digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.scheduling.image_decoder.QUICK_COST", 0)
    service = local(digits, max_wait_seconds=1e-9)  # eight requests, of which one is measured, would be too many

    async def go() -> tuple[int, int]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=PNG) as client:
            tasks = [asyncio.create_task(client.post("/predict/image", content=LARGE)) for _ in range(12)]
            while sum(task.done() for task in tasks) < 2:
                await asyncio.sleep(0.001)
            small = await client.post("/predict/image", content=SMALL)
            waiting = sum(not task.done() for task in tasks)
            assert {task.status_code for task in await asyncio.gather(*tasks)} == {200}
            return small.status_code, waiting

    status, waiting = asyncio.run(go())
    assert status == 200
    assert waiting >= 8
    assert service.worker.load.in_flight == 0


def test_an_image_that_reaches_the_time_limit(digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.scheduling.image_decoder.SECONDS", 0.05)
    slow = encode(Image.new("RGBA", (4000, 3900), (1, 2, 3, 4)))
    (response,), longest = attack(local(digits), ("POST", "/predict/image", form(SMALL, slow)))
    assert response.status_code == 400
    limits = "within 0.05 s of computing time and 305 MB of memory"
    assert response.json()["error"] == f"file 2: the image cannot be decoded {limits}"
    assert longest <= MAX_DELAY
