"""Multipart forms that are expensive to parse, and a full disk."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.hostile_images import chunk, png
from tests.serving.attacks.delays import MAX_DELAY, attack, form
from tests.serving.conftest import Local

Make = Callable[..., Local]
FIELD = b'--x\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
END = b"\r\n--x--\r\n"
SIZE = 4_000_000
BODIES: dict[str, tuple[bytes, str]] = {
    "almost a boundary": (FILE + b"\r\n--xy" * (SIZE // 6) + END, "too many parts; allowed: 64 files and 8 fields"),
    "half a boundary": (FILE + b"\r\n-" * (SIZE // 3) + END, "not an image"),
    "line breaks": (FILE + b"\r\n" * (SIZE // 2) + END, "not an image"),
    "many parts": ((FILE + b"\r\n") * (SIZE // len(FILE)), "too many parts; allowed: 64 files and 8 fields"),
    "many headers": (b"--x\r\n" + b"a: b\r\n" * (SIZE // 6), "the form is broken"),
    "a long header": (FILE[:-10] + b";" * SIZE, "the form is broken"),
    "spaces after a boundary": (FILE + b"\r\n--x" + b" " * SIZE, "64 or more spaces follow a boundary"),
    "a long epilogue": (FILE + b"hello" + END + b"\r\n" * (SIZE // 2), "not an image: found text"),
}


def send(body: bytes, more: str = "") -> tuple[str, str, dict[str, object]]:
    headers = {"content-type": f"multipart/form-data; boundary=x{more}"}
    return ("POST", "/predict/image", {"content": body, "headers": headers})


@pytest.mark.parametrize("name", BODIES)
def test_others_are_not_delayed(digits: Path, local: Make, name: str) -> None:
    body, reason = BODIES[name]
    (response,), longest = attack(local(digits), send(body))
    assert longest <= MAX_DELAY
    assert response.status_code == 400
    assert reason in response.json()["error"]


def test_an_empty_boundary_does_not_delay_others(digits: Path, local: Make) -> None:
    headers = {"content-type": 'multipart/form-data; boundary=""'}
    body = b'--\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"\r\n--x" * (SIZE // 5)
    (response,), longest = attack(local(digits), ("POST", "/predict/image", {"content": body, "headers": headers}))
    assert longest <= MAX_DELAY
    assert response.status_code == 400
    assert response.json()["error"] == "the form is broken: the content type has no boundary"


@pytest.mark.parametrize("charset", ["punycode", "utf-7", "utf-16", "idna", "latin-1", "unknown", "Punycode"])
def test_other_charsets_than_utf_8_are_rejected(digits: Path, local: Make, charset: str) -> None:
    body = FIELD + b"a" * 420_000 + b"\r\n" + FILE + png() + END
    (response,), longest = attack(local(digits), send(body, f"; charset={charset}"))
    assert longest <= MAX_DELAY
    assert response.status_code == 400
    assert response.json()["error"] == f"the form's charset: found '{charset}'; allowed: utf-8"


@pytest.mark.parametrize("name", ["almost a boundary", "another charset"])
def test_two_content_types_are_not_read_differently(digits: Path, local: Make, name: str) -> None:
    """The parser reads the content type that was checked: both in one, as proxies may combine them."""
    field = b'--x\r\nContent-Disposition: form-data; name="field"\r\n\r\n'
    body = field + b"a" * 420_000 + b"\r\n" + FILE + png() + END
    first, second = "multipart/form-data; boundary=x; charset=punycode", "multipart/form-data; boundary=x"
    if name in BODIES:
        body, first, second = BODIES[name][0], second, "multipart/form-data; boundary=y"
    headers = [("content-type", first), ("content-type", second)]
    (response,), longest = attack(local(digits), ("POST", "/predict/image", {"content": body, "headers": headers}))
    assert longest <= MAX_DELAY
    assert response.status_code == 400
    assert re.search("the form's charset: found 'punycode, |the form is broken", response.json()["error"])


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"', "; charset=utf8"])
def test_utf_8_is_accepted(digits: Path, local: Make, charset: str) -> None:
    method, path, options = send(FILE + png() + END, charset)
    assert local(digits).many((method, path, options))[0].status_code == 200


def test_a_full_disk_does_not_matter(digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # fails as a full disk does
    large = png(chunk(b"prIv", b"\0" * 2_000_000))
    assert local(digits).post("/predict/image", **form(large)).status_code == 200
