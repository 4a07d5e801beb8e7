"""Files and fields of a multipart form (RFC 7578), parsed in memory in time linear in its bytes."""

from functools import lru_cache

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors import invalid
from serving.http.messages import Request

MAX_FIELDS = 8
MAX_FIELD_BYTES = 1 << 20
CHARSETS = {b"utf-8", b"utf8"}
MAX_PADDING = 64  # spaces and tabs after a boundary, each of which takes the parser a turn of a loop in Python

MAX_CACHED_HEADER = 512  # bytes
# Clients send the same few headers again and again: caching them saves 5 us of a form.
_cached_options = lru_cache(256)(parse_options_header)


class _FormError(ValueError):
    """The form is broken or exceeds a limit."""


class _Parts:
    """Files and text fields, collected from the callbacks of python-multipart.

    Starlette's parser does the same with a temporary file for each part, which takes twice the time.
    """

    def __init__(self, max_files: int) -> None:
        self.files: list[bytes] = []
        self.fields: list[tuple[str, str]] = []
        self._max_files = max_files
        self._begun = {"files": 0, "fields": 0}
        self._header = self._value = self._disposition = b""
        self._name = ""
        self._is_file = self._is_complete = False
        self._data: list[bytes] = []
        self._size = 0

    def parse(self, body: bytes, boundary: bytes) -> None:
        """Collect the parts of a whole body. Raises _FormError."""
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            MultipartParser(boundary, callbacks).write(body)  # type: ignore[arg-type]
        except FormParserError:
            raise _FormError("the form is broken; is the boundary in the content type another one?") from None
        if not self._is_complete:
            raise _FormError("the form is broken: found no final boundary; is the form cut off?")

    def _begin(self) -> None:
        self._disposition = b""
        self._data, self._size = [], 0

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        options = _options(self._disposition)
        if b"name" not in options:
            raise _FormError("the form is broken: a part has no name in its Content-Disposition")
        self._name, self._is_file = _text(options[b"name"]), b"filename" in options
        kind, most = ("files", self._max_files) if self._is_file else ("fields", MAX_FIELDS)
        self._begun[kind] += 1
        if self._begun[kind] > most:
            raise _FormError(f"the form has too many {kind}; allowed: {most}")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if not self._is_file and self._size > MAX_FIELD_BYTES:
            raise _FormError(f"a field of the form is too large; allowed: {MAX_FIELD_BYTES} bytes")
        self._data.append(data[start:end])

    def _end_part(self) -> None:
        content = b"".join(self._data)
        if self._is_file:
            self.files.append(content)
        else:
            self.fields.append((self._name, _text(content)))

    def _end(self) -> None:
        self._is_complete = True


async def parse(request: Request, max_files: int) -> tuple[list[bytes], dict[str, str]]:
    """The content of the files, and the text fields by name.

    Raises RequestError if the form is broken, has more than `max_files` files or another charset than UTF-8.
    """
    parameters = _options(request.header(b"content-type"))
    if (charset := parameters.get(b"charset", b"utf-8")).lower() not in CHARSETS:
        raise invalid(f"the form's charset: found {charset.decode('latin-1')[:50]!r}; allowed: utf-8")
    body, boundary = await request.body(), parameters.get(b"boundary")
    if not boundary:
        raise invalid("the form is broken: the content type has no boundary")
    _check_boundaries(body, b"--" + boundary, max_files)
    parts = _Parts(max_files)
    try:
        parts.parse(body, boundary)
    except _FormError as error:
        raise invalid(str(error)) from None
    # BentoML's client sends omitted fields as null.
    pairs = [(name, value) for name, value in parts.fields if value != "null"]
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise invalid("the form names a field twice")
    if "files" in fields:
        raise invalid("files: found text; allowed: the bytes of images; no address is fetched")
    return parts.files, fields


def _check_boundaries(body: bytes, boundary: bytes, max_files: int) -> None:
    """Raise RequestError for too many boundaries, or spaces after one: each costs the parser several calls."""
    end = count = 0
    while (start := body.find(boundary, end)) >= 0:
        end, count = start + len(boundary), count + 1
        if count > max_files + MAX_FIELDS + 1:
            raise invalid(f"the form has too many parts; allowed: {max_files} files and {MAX_FIELDS} fields")
        padding = body[end : end + MAX_PADDING]
        if len(padding) == MAX_PADDING and not padding.strip(b" \t"):
            raise invalid(f"the form is broken: {MAX_PADDING} or more spaces follow a boundary")


def _options(header: bytes) -> dict[bytes, bytes]:
    """The parameters of a header."""
    _, options = _cached_options(header) if len(header) <= MAX_CACHED_HEADER else parse_options_header(header)
    return options


def _text(content: bytes) -> str:
    """The content in UTF-8, or else in Latin-1."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
