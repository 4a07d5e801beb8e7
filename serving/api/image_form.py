"""Files and fields of a multipart form (RFC 7578), parsed in memory in time linear in its bytes."""

from collections.abc import AsyncGenerator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serving.errors import invalid
from serving.http.messages import Request

MAX_FIELDS = 8
CHARSETS = {b"utf-8", b"utf8"}


class _Parser(MultiPartParser):
    """Starlette's parser without temporary files: the body is in memory anyway, and the disk may be full."""

    spool_max_size = 0  # no limit


async def parse(request: Request, max_files: int) -> tuple[list[bytes], dict[str, str]]:
    """The content of the files, and the text fields by name.

    Raises RequestError if the form is broken, has more than `max_files` files or another charset than UTF-8.
    """
    content_type = request.header(b"content-type")
    _, parameters = parse_options_header(content_type)
    if (charset := parameters.get(b"charset", b"utf-8")).lower() not in CHARSETS:
        raise invalid(f"the form's charset: found {charset.decode('latin-1')[:50]!r}; allowed: utf-8")
    body = await request.body()
    # Each candidate for a boundary costs the parser several calls.
    if (boundary := parameters.get(b"boundary")) and body.count(b"--" + boundary) > max_files + MAX_FIELDS + 1:
        raise invalid(f"the form has too many parts; allowed: {max_files} files and {MAX_FIELDS} fields")
    try:
        headers = Headers(raw=[(b"content-type", content_type)])  # the one that was checked
        form = await _Parser(headers, _stream(body), max_files=max_files, max_fields=MAX_FIELDS).parse()
    except (MultiPartException, LookupError, ValueError) as error:
        raise invalid(f"the form is broken: {error}; is the boundary missing?") from None
    try:
        items = form.multi_items()
        # BentoML's client sends omitted fields as null.
        pairs = [(name, value) for name, value in items if isinstance(value, str) and value != "null"]
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise invalid("the form names a field twice")
        if "files" in fields:
            raise invalid("files: found text; allowed: the bytes of images; no address is fetched")
        return [await value.read() for _, value in items if isinstance(value, UploadFile)], fields
    finally:
        await form.close()


async def _stream(body: bytes) -> AsyncGenerator[bytes, None]:
    """The body as an asynchronous stream."""
    yield body
    yield b""
