import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from pipelines.sources import mnist
from pipelines.sources.published import download
from pipelines.sources.published.pinned import PinnedFile
from tests.pipelines.workspace import data, mount_small_disk, unmount

CONTENT = np.random.default_rng(0).integers(0, 64, 300_000, np.uint8).tobytes()
FILE = gzip.compress(CONTENT, mtime=0)
OTHER_PACKING = gzip.compress(CONTENT, compresslevel=1, mtime=1)
NAME = "train-images-idx3-ubyte.gz"
PINNED = PinnedFile(NAME, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), gzipped=True)


class Handler(BaseHTTPRequestHandler):
    """The first part of the URL path selects the behaviour of the mirror."""

    server: "Server"

    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        self.server.requests.append((behaviour, self.headers.get("Range")))
        getattr(self, behaviour)()

    def log_message(self, *words: object) -> None:
        pass

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def start(self) -> int:
        """The first byte that was asked for."""
        return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])

    def ranged(self, body: bytes, length: int | None = None) -> None:
        start = self.start()
        if start >= len(FILE):
            return self.answer(416, b"", Content_Range=f"bytes */{len(FILE)}")
        span = f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"
        return self.answer(206 if start else 200, body[start:], length, **({"Content_Range": span} if start else {}))

    def good(self) -> None:
        self.ranged(FILE)

    def repacked(self) -> None:
        self.answer(200, OTHER_PACKING)

    def labelled_gzip(self) -> None:
        self.answer(200, FILE, Content_Encoding="gzip")

    def without_range(self) -> None:
        self.answer(200, FILE)

    def wrong_range(self) -> None:
        self.answer(206, FILE[5:], Content_Range=f"bytes 5-{len(FILE) - 1}/{len(FILE)}")

    def missing(self) -> None:
        self.answer(404, b"gone")

    def failing(self) -> None:
        self.answer(500, b"sorry")

    def page(self) -> None:
        self.answer(200, b"<html>please log in</html>", Content_Type="text/html; charset=utf-8")

    def unlabelled_page(self) -> None:
        self.answer(200, b"<html>please log in</html>")

    def half(self) -> None:
        start = self.start()
        self.answer(
            206 if start else 200, FILE[start : len(FILE) // 2], len(FILE) - start, Content_Range=f"bytes {start}-"
        )

    def short(self) -> None:
        """Half a file, announced as a whole one."""
        self.answer(200, FILE[: len(FILE) // 2])

    def overlong(self) -> None:
        """More is announced than comes."""
        self.answer(200, FILE, len(FILE) + 1000)

    def wrong(self) -> None:
        self.answer(200, gzip.compress(CONTENT[:-1] + b"?"))

    def bomb(self) -> None:
        self.answer(200, gzip.compress(bytes(20_000_000)))

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def silent(self) -> None:
        self.server.closing.wait(10)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""

    def mirror(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


Fetch = Callable[..., Path]


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    """Fetch the file into `tmp_path` from mirrors that behave as named."""
    return lambda *mirrors: download.fetch(PINNED, [server.mirror(name) for name in mirrors], tmp_path)


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("mirror", ["good", "labelled_gzip", "without_range", "repacked"])
def test_a_file_is_fetched_and_nothing_else_is_left(fetch: Fetch, tmp_path: Path, mirror: str) -> None:
    path = fetch(mirror)
    assert gzip.decompress(path.read_bytes()) == CONTENT
    assert visible(tmp_path) == {NAME}


FAILURES = {
    "missing": "status 404 Not Found",
    "failing": "status 500 Internal Server Error",
    "page": "a web page (text/html) instead of the file",
    "unlabelled_page": "26 bytes of content; allowed: 300000",
    "half": "connection closed before the announced length",
    "short": "broken gzip data",
    "overlong": "connection closed before the announced length",
    "wrong": "wrong checksum: SHA-256",
    "bomb": "more than 300000 bytes of content",
    "endless": "bytes of content",
    "wrong_range": "answered with the range 'bytes 5-",
}


@pytest.mark.parametrize("mirror", FAILURES)
def test_the_next_mirror_is_tried(fetch: Fetch, tmp_path: Path, mirror: str) -> None:
    assert gzip.decompress(fetch(mirror, "good").read_bytes()) == CONTENT
    assert visible(tmp_path) == {NAME}


@pytest.mark.parametrize(("mirror", "reason"), FAILURES.items(), ids=FAILURES)
def test_nothing_has_the_final_name_after_a_failure(fetch: Fetch, tmp_path: Path, mirror: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        fetch(mirror)
    assert reason in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    kept = {f"{NAME}.part"} if mirror in ("half", "overlong") else set()  # what another attempt can continue
    assert visible(tmp_path) == kept


def test_when_all_fail_each_mirror_is_named_with_its_reason(server: Server, fetch: Fetch) -> None:
    with pytest.raises(InputError) as caught:
        fetch("missing", "failing", "wrong")
    for name in ("missing", "failing", "wrong"):
        assert f"{server.mirror(name)}/{NAME}: {FAILURES[name]}" in str(caught.value)
    assert "data.path" in str(caught.value)


def test_an_unreachable_or_invalid_mirror_is_skipped(server: Server, tmp_path: Path) -> None:
    mirrors = ["http://127.0.0.1:9", "nonsense", "ftp://127.0.0.1", server.mirror("good")]
    assert download.fetch(PINNED, mirrors, tmp_path).exists()


def test_a_mirror_that_does_not_respond_is_skipped(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "READ_SECONDS", 0.1)
    with pytest.raises(InputError, match="no answer within"):
        fetch("silent")


def test_an_interrupted_download_is_resumed(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        fetch("half")
    have = (tmp_path / f"{NAME}.part").stat().st_size
    assert 0 < have <= len(FILE) // 2
    fetch("good")
    assert server.requests[-1] == ("good", f"bytes={have}-")
    assert (tmp_path / NAME).read_bytes() == FILE


def test_a_server_that_ignores_ranges_starts_over(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(FILE[:1000])
    fetch("without_range")
    assert (tmp_path / NAME).read_bytes() == FILE


@pytest.mark.parametrize("rest", [b"of another packing" * 50, FILE, FILE + b"more"])
def test_a_part_that_does_not_match_is_discarded(fetch: Fetch, tmp_path: Path, rest: bytes) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(rest)
    fetch("good")
    assert (tmp_path / NAME).read_bytes() == FILE


def test_a_full_disk_does_not_count_as_a_failure_of_the_mirror(server: Server, tmp_path: Path) -> None:
    mount_small_disk(tmp_path / "cache", kilobytes=64)
    try:
        with pytest.raises(OSError, match="No space left on device") as caught:
            download.fetch(PINNED, [server.mirror("good"), server.mirror("good")], tmp_path / "cache")
        assert str(caught.value.filename).endswith(f"{NAME}.part")
        assert len(server.requests) == 1
        assert not (tmp_path / "cache" / NAME).exists()
    finally:
        unmount(tmp_path / "cache")


def test_a_whole_file_is_not_fetched_again(server: Server, fetch: Fetch) -> None:
    fetch("good")
    fetch("good")
    assert len(server.requests) == 1


def test_a_source_uses_the_mirrors_of_the_params(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 7, 8, 9])
    parts = [
        PinnedFile(f"{number}-idx3.gz", len(images), hashlib.sha256(images).hexdigest(), True) for number in range(4)
    ]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Handler, "images", lambda self: self.answer(200, images), raising=False)
    config = data("mnist", mirrors=(server.mirror("missing"), server.mirror("images")))
    assert mnist.load(config, parts=parts).train_inputs.shape == (3, 1, 1, 1)
    assert visible(tmp_path / "tandem" / "mnist") == {part.name for part in parts}
