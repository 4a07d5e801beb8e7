"""Forms have the parts that Starlette's parser finds, which keeps each file in a temporary one."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serving.api import image_form
from serving.errors import RequestError
from serving.http.messages import Request

TYPE = b"multipart/form-data; boundary=limit"
FILE = b'Content-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png'
FIELD = b'Content-Disposition: form-data; name="top_k"'
MOST = 2
Parts = tuple[list[bytes], list[tuple[str, str]]]


def body(*parts: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"--limit\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + b"--limit--\r\n"


def own(content_type: bytes, content: bytes) -> Parts | str:
    """Files and fields as this package reads them, or the message of an error."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    scope = {"method": "POST", "path": "/", "headers": [(b"content-type", content_type)]}
    try:
        files, fields = asyncio.run(image_form.parse(Request(scope, receive, 1 << 24), MOST))
    except RequestError as error:
        return str(error)
    return files, list(fields.items())


def starlette(content_type: bytes, content: bytes) -> Parts | str:
    """The same as Starlette reads them."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield content

    async def run() -> Parts:
        headers = Headers(raw=[(b"content-type", content_type)])
        parser = MultiPartParser(headers, stream(), max_files=MOST, max_fields=image_form.MAX_FIELDS)
        items = (await parser.parse()).multi_items()
        files = [await value.read() for _, value in items if isinstance(value, UploadFile)]
        return files, [(name, value) for name, value in items if isinstance(value, str)]

    try:
        return asyncio.run(run())
    except MultiPartException as error:
        return str(error)


@pytest.mark.parametrize(
    "content",
    [
        body((FILE, b"one")),
        body((FILE, b"one"), (FIELD, b"3"), (FILE, b"two\r\n--limi")),
        body((FILE, b"")),
        body((FILE, b"x" * 3_000_000)),
        body((FIELD, b"x" * (1 << 20))),
        body((FIELD, b"x" * (1 << 20) + b"x")),
        body((FIELD, "é".encode()), (FIELD.replace(b"top_k", b"\xff"), b"\xfe")),
        body((b"x-first: 1\r\n" + FIELD.lower() + b"\r\nx-last: 2", b"3")),
        body((FIELD.replace(b"name", b"NAME"), b"3")),
        body((FIELD.replace(b"name", b"other"), b"3")),
        body((b"Content-Type: image/png", b"one"), (FIELD, b"3")),
        body((FILE, b"one"), (FILE, b"two"), (FILE, b"three")),
        body(*((FIELD.replace(b"top_k", b"name%d" % number), b"3") for number in range(8))),
        body(*((FIELD.replace(b"top_k", b"name%d" % number), b"3") for number in range(9))),
        body((FIELD + b"\r\nno colon", b"3")),
        b"no form",
        b"\r\n" + body((FILE, b"one")),
        body((FILE, b"one")) + b"after the end",
    ],
)
@pytest.mark.parametrize("content_type", [TYPE, b"multipart/form-data", TYPE.replace(b"limit", b"l" * 300)])
def test_a_form_has_the_parts_that_starlette_finds(content_type: bytes, content: bytes) -> None:
    found, expected = own(content_type, content), starlette(content_type, content)
    assert isinstance(found, str) if isinstance(expected, str) else found == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no form", "the form is broken; is the boundary in the content type another one?"),
        (b"", "the form is broken: found no final boundary; is the form cut off?"),
        (body((FILE, b"one"))[:-4], "the form is broken: found no final boundary; is the form cut off?"),
        (
            body((FILE, b"one"), (FILE, b"two"))[:-20],
            "the form is broken: found no final boundary; is the form cut off?",
        ),
        (
            body((FILE, b"one"), (FIELD, b"3"))[:-14],
            "the form is broken: found no final boundary; is the form cut off?",
        ),
        (
            body((b"Content-Type: image/png", b"one")),
            "the form is broken: a part has no name in its Content-Disposition",
        ),
        (body((FILE, b"1"), (FILE, b"2"), (FILE, b"3")), "the form has too many files; allowed: 2"),
        (body((FIELD, b"x" * (1 << 20) + b"x")), "a field of the form is too large; allowed: 1048576 bytes"),
        (body((FILE, b"1")) + b"--limit" + b" \t" * 32, "the form is broken: 64 or more spaces follow a boundary"),
    ],
)
def test_a_broken_form_is_rejected_with_the_reason(content: bytes, message: str) -> None:
    assert own(TYPE, content) == message


@pytest.mark.parametrize("content_type", [b"multipart/form-data", b'multipart/form-data; boundary=""'])
def test_a_content_type_without_a_boundary_is_rejected(content_type: bytes) -> None:
    assert own(content_type, body((FILE, b"one"))) == "the form is broken: the content type has no boundary"
