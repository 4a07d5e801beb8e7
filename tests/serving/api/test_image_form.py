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
        return f"the form is broken: {error}; is the boundary missing?"


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
        body((FILE, b"one")).removesuffix(b"--limit--\r\n"),
        body((FILE, b"one"), (FILE, b"two"))[:-20],
        body((FIELD + b"\r\nno colon", b"3")),
        b"",
        b"no form",
        b"\r\n" + body((FILE, b"one")),
        body((FILE, b"one")) + b"after the end",
    ],
)
@pytest.mark.parametrize("content_type", [TYPE, b"multipart/form-data", TYPE.replace(b"limit", b"l" * 300)])
def test_a_form_has_the_parts_that_starlette_finds(content_type: bytes, content: bytes) -> None:
    assert own(content_type, content) == starlette(content_type, content)
