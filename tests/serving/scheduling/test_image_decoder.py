"""Decoding in child processes: the same pixels, limits of time and memory, and no process that is left behind."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from models.images import image
from models.images.structure import Structure
from serving.errors import RequestError
from serving.scheduling import image_children, image_decoder
from serving.scheduling.image_decoder import ImageDecoder, ImageError, LimitError
from tests.models.hostile_images import png_of_four_rows
from tests.models.images.test_image import encode
from tests.serving.attacks.delays import noise
from tests.serving.conftest import PATIENCE, ROOT, wait_for

SHAPE = (20, 30, 3)
PIXELS = 16_000_000
SLOW = image.read_header(encode(Image.new("RGBA", (4000, 4000), (1, 2, 3, 4))))  # takes 0.3 s


@pytest.fixture
def decoder() -> Iterator[ImageDecoder]:
    made = ImageDecoder(PIXELS)
    yield made
    made.close()


def decode(decoder: ImageDecoder, structures: Sequence[Structure], shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return asyncio.run(decoder.decode(structures, shape))


def parent(decoder: ImageDecoder) -> psutil.Process:
    assert decoder._parent
    return psutil.Process(decoder._parent.pid)


def wait_until_gone(processes: Sequence[psutil.Process]) -> None:
    """Zombies, which wait for their parent only, count as gone."""
    wait_for(lambda: not any(is_alive(each) for each in processes))


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_pixels_are_those_of_the_decoder_in_this_process(decoder: ImageDecoder) -> None:
    files = [encode(noise(300, 200), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]
    files.append(encode(Image.new("RGBA", (9, 7), (200, 100, 0, 50))))
    expected = [image.decode(data, SHAPE) for data in files]
    structures = [image.read_header(data) for data in files]
    for _ in range(2):
        np.testing.assert_array_equal(decode(decoder, structures), expected)


def test_a_damaged_image_is_named(decoder: ImageDecoder) -> None:
    structures = [image.read_header(data) for data in (encode(noise(30, 20)), png_of_four_rows())]
    with pytest.raises(ImageError, match="rows are missing") as caught:
        decode(decoder, structures)
    assert caught.value.index == 1
    assert decode(decoder, structures[:1]).shape == (1, *SHAPE)


def test_computing_time_is_limited(decoder: ImageDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_decoder, "SECONDS", 0.05)
    monkeypatch.setattr(image_decoder, "QUICK_SECONDS", 0.05)
    small = image.read_header(encode(noise(30, 20)))
    decode(decoder, [small])
    for structure in (SLOW, SLOW._replace(cost=1)):
        with pytest.raises(LimitError, match=r"cannot be decoded within 0.05 s of computing time and 305 MB") as caught:
            decode(decoder, [small, structure])
        assert caught.value.index == 1
        assert decode(decoder, [small]).shape == (1, *SHAPE)


def test_an_image_that_takes_longer_than_estimated_starts_again(
    decoder: ImageDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_decoder, "QUICK_SECONDS", 0.05)
    pixels = decode(decoder, [SLOW._replace(cost=1)])
    np.testing.assert_array_equal(pixels[0], image.render(SLOW, SHAPE))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_memory_is_limited() -> None:
    decoder = ImageDecoder(1000)
    small = image.read_header(encode(noise(30, 20)))
    with pytest.raises(LimitError, match="within 3 s of computing time and 64 MB of memory"):
        decode(decoder, [SLOW])
    assert decode(decoder, [small]).shape == (1, *SHAPE)
    decoder.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_the_largest_images_fit_into_the_memory(decoder: ImageDecoder, kind: str) -> None:
    """With transparency and turned, which take a copy each."""
    mode = {"JPEG": "CMYK", "BMP": "RGB"}.get(kind, "RGBA")
    block = Image.Exif()
    block[0x0112] = 6
    more = {} if kind == "BMP" else {"exif": block, "progressive": True, "method": 0}
    data = encode(Image.new(mode, (4600, 3478), (1, 2, 3, 4)[: len(mode)]), kind, **more)
    assert decode(decoder, [image.read_header(data)]).shape == (1, *SHAPE)


@pytest.mark.parametrize("whom", ["parent", "child", "both"])
def test_killed_processes_are_replaced(decoder: ImageDecoder, whom: str) -> None:
    small = image.read_header(encode(noise(30, 20)))
    decode(decoder, [small])
    for _ in range(3):
        before = parent(decoder)
        killed = [before] if whom == "parent" else before.children()
        killed += [before] if whom == "both" else []
        for process in killed:
            process.kill()
        psutil.wait_procs(killed, PATIENCE)
        assert decode(decoder, [small]).shape == (1, *SHAPE)
        assert (parent(decoder).pid == before.pid) == (whom == "child")


def test_the_parent_is_started_in_advance(decoder: ImageDecoder) -> None:
    decoder.start()
    before = parent(decoder).memory_info().rss
    decode(decoder, [image.read_header(encode(noise(30, 20)))])
    assert parent(decoder).memory_info().rss - before < 5e6


def test_a_child_is_used_again(decoder: ImageDecoder) -> None:
    small, damaged = (image.read_header(data) for data in (encode(noise(30, 20)), png_of_four_rows()))
    decode(decoder, [small])
    (child,) = parent(decoder).children()
    for _ in range(3):
        assert decode(decoder, [small]).shape == (1, *SHAPE)
        with pytest.raises(ImageError):
            decode(decoder, [damaged, small])
    assert parent(decoder).children() == [child]


def test_a_parent_that_cannot_start_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_children, "PROCESS", "serving.no_such_module")
    decoder = ImageDecoder(PIXELS)
    with pytest.raises(RuntimeError, match="the process that decodes images has ended; its output"):
        decoder.start()
    with pytest.raises(RuntimeError, match="the process that decodes images has ended twice"):
        decode(decoder, [image.read_header(encode(noise(30, 20)))])
    decoder.close()


def test_a_slow_image_delays_slow_ones_only(decoder: ImageDecoder) -> None:
    quick = image.read_header(encode(noise(600, 400), "JPEG"))
    decode(decoder, [quick])

    async def go() -> bool:
        slow = [asyncio.create_task(decoder.decode([SLOW], SHAPE)) for _ in range(3)]
        await asyncio.sleep(0.02)
        await decoder.decode([quick], SHAPE)
        done = all(task.done() for task in slow)
        await asyncio.gather(*slow)
        return done

    assert not asyncio.run(go())


def test_the_slow_images_that_wait_are_limited(decoder: ImageDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their estimated time; a single one is decoded whatever it takes, and quick ones are not affected."""
    monkeypatch.setattr(image_decoder, "MAX_SLOW_COST", 2 * SLOW.cost)
    quick = image.read_header(encode(noise(30, 20)))

    async def go(*structures: Structure) -> list[bool]:
        tasks = [asyncio.create_task(decoder.decode([structure], SHAPE)) for structure in structures]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [result for result in results if isinstance(result, RequestError)]
        assert {str(error) for error in refused} <= {"too many large images are in progress; try again in a second"}
        return [isinstance(result, RequestError) for result in results]

    assert asyncio.run(go(SLOW, SLOW, SLOW, quick, SLOW)) == [False, False, True, False, True]
    assert asyncio.run(go(SLOW._replace(cost=9 * SLOW.cost), quick)) == [False, False]


def test_the_parent_has_one_thread_a_low_priority_and_no_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TANDEM_API_KEY", "a secret")
    decoder = ImageDecoder(PIXELS)
    decode(decoder, [image.read_header(encode(noise(30, 20)))])
    process = parent(decoder)
    assert process.num_threads() == 1
    assert process.nice() == 10
    assert "TANDEM_API_KEY" not in process.environ()
    assert process.memory_info().rss < 60e6
    (child,) = process.children()
    assert child.memory_info().rss < 60e6
    decoder.close()
    wait_until_gone([child])
    assert not process.is_running()


def test_closing_ends_what_runs() -> None:
    decoder = ImageDecoder(PIXELS)

    async def go() -> list[psutil.Process]:
        task = asyncio.create_task(decoder.decode([SLOW] * 9, SHAPE))
        while not (decoder._parent and parent(decoder).children()):
            await asyncio.sleep(0.01)
        processes = [parent(decoder), *parent(decoder).children()]
        decoder.close()
        with pytest.raises(RuntimeError, match="closed"):  # instead of the pixels
            await task
        return processes

    processes = asyncio.run(go())
    assert len(processes) == 2
    wait_until_gone(processes)


SCRIPT = """
import asyncio, sys
from models.images import image
from serving.scheduling.image_decoder import ImageDecoder

decoder = ImageDecoder(16_000_000)
structure = image.read_header(open(sys.argv[1], "rb").read())
print("ready", flush=True)
asyncio.run(decoder.decode([structure] * 20, (8, 8, 1)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_is_left_when_the_worker_is_killed(number: int, tmp_path: Path) -> None:
    file = tmp_path / "slow.png"
    Image.new("RGBA", (4000, 4000), (1, 2, 3, 4)).save(file)
    worker = subprocess.Popen([sys.executable, "-c", SCRIPT, str(file)], cwd=ROOT, stdout=subprocess.PIPE)
    process = psutil.Process(worker.pid)
    wait_for(lambda: len(process.children(recursive=True)) == 2)
    children = process.children(recursive=True)
    worker.send_signal(number)
    worker.wait(PATIENCE)
    wait_until_gone(children)
    assert worker.stdout
    worker.stdout.close()


def test_without_fork_the_threads_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_decoder, "FORK", False)
    decoder = ImageDecoder(PIXELS)
    decoder.start()
    structure = image.read_header(encode(noise(30, 20)))
    np.testing.assert_array_equal(decode(decoder, [structure] * 2), [image.render(structure, SHAPE)] * 2)
    with pytest.raises(ImageError, match="rows are missing"):
        decode(decoder, [structure, image.read_header(png_of_four_rows())])
    assert decoder._parent is None
    decoder.close()
