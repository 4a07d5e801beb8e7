"""The structure of a `ModelInferRequest`, checked before it is parsed.

An empty input takes two bytes in a message and 90 once it is parsed, so the number of fields is limited. Numbers then
take at most `PER_BYTE` bytes for each byte of the message: a dimension of a shape, for example, has one byte in the
message and eight in an array, which grows by doubling.
"""

from collections.abc import Iterator

from serving.errors import RequestError, invalid
from serving.grpc.messages import MESSAGES

MAX_FIELDS = 1000  # of a message, with those of its inputs and outputs
PER_BYTE = 20
MAX_VARINT = 10  # bytes
_NUMBERS = {name: number for name, (number, _) in MESSAGES["ModelInferRequest"].items()}
_RAW, _NESTED = _NUMBERS["raw_input_contents"], (_NUMBERS["inputs"], _NUMBERS["outputs"])


def raw_bytes(body: bytes) -> int:
    """The bytes of raw data in the message. Raises RequestError if it is broken or has more than MAX_FIELDS fields."""
    raw = 0
    for count, (number, size) in enumerate(_all_fields(body), 1):
        if count > MAX_FIELDS:
            raise invalid(f"the message has more than {MAX_FIELDS} fields; allowed: one input, its data and parameters")
        raw += size if number == _RAW else 0
    return raw


def _malformed() -> RequestError:
    """The error for bytes that are no message."""
    return invalid("the message is no ModelInferRequest")


def _all_fields(body: bytes) -> Iterator[tuple[int, int]]:
    """Number and size of each field of the message; those within inputs and outputs have the number 0."""
    for number, start, end in _fields(body, 0, len(body)):
        yield number, end - start
        if number in _NESTED:
            yield from ((0, to - at) for _, at, to in _fields(body, start, end))


def _fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field (https://protobuf.dev/programming-guides/encoding). Raises RequestError."""
    while at < end:
        tag, start = _varint(body, at, end)
        match tag & 7:
            case 0:
                _, at = _varint(body, start, end)
            case 1:
                at = start + 8
            case 2:
                size, start = _varint(body, start, end)
                at = start + size
            case 5:
                at = start + 4
            case _:
                raise _malformed()
        if at > end:
            raise _malformed()
        yield tag >> 3, start, at


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at a position, and the position after it. Raises RequestError."""
    value = 0
    for index, byte in enumerate(body[at : min(at + MAX_VARINT, end)]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise _malformed()
