"""Parsing of JSON bodies. Duplicate keys are rejected: implementations differ in which of the values counts."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import orjson

from serving.errors import RequestError, invalid
from serving.http.large_bodies import SMALL_BYTES, parsed_bytes
from serving.http.messages import Request
from serving.worker import Worker

Result = TypeVar("Result")


async def read(
    worker: Worker, request: Request, body: bytes, convert: Callable[[bytes], Result], max_keys: int = 100
) -> Result:
    """`convert(body)`, a large body in its turn. The result must not refer to the parsed JSON.

    Raises RequestError, also for a large body with more than `max_keys` keys: they take longest to parse.
    """
    if len(body) <= SMALL_BYTES:
        return convert(body)
    if body.count(b":") > max_keys and (found := _count_colons(body)) > max_keys:
        raise invalid(f"the body has {found} keys; allowed: {max_keys}")
    return await worker.large_bodies.convert(request, parsed_bytes(body), partial(convert, body))


def parse(body: bytes, advice: str = "") -> dict[str, Any]:
    """The body as a JSON object without duplicate keys. Raises RequestError; `advice` is added if it is not JSON."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}{advice}" if body else "the body is empty") from None
    if not isinstance(document, dict):
        raise invalid('the body is no JSON object; allowed: {"inputs": [...]}')
    keys = _count_keys(document, body.count(b"{"))
    if body.count(b":") != keys and _count_colons(body) != keys:
        raise _duplicate(body)
    return document


def _count_keys(document: dict[str, Any], objects: int) -> int:
    """The number of keys in all objects, of which there are at most `objects`, in time linear in the values."""
    keys = 0
    level: list[Any] = [document]
    while level:
        found = [value for value in level if type(value) is dict]
        keys += sum(map(len, found))
        objects -= len(found)
        if not objects:
            break
        lists = (value for value in level if type(value) is list)
        inner = chain(chain.from_iterable(lists), chain.from_iterable(value.values() for value in found))
        level = [value for value in inner if type(value) is list or type(value) is dict]
    return keys


def _count_colons(body: bytes) -> int:
    """The number of colons outside of strings, one for each key as it is written."""
    text = np.frombuffer(body.replace(rb"\\", b"").replace(rb"\"", b""), np.uint8)
    is_string = np.bitwise_xor.accumulate(text == ord('"'))
    return int(np.count_nonzero((text == ord(":")) & ~is_string))


def _duplicate(body: bytes) -> RequestError:
    """The error for a duplicate key, with the key unless finding it takes long."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique_pairs = dict(pairs)
        if len(unique_pairs) != len(pairs):
            ((key, _),) = Counter(name for name, _ in pairs).most_common(1)
            raise invalid(f"the key {key[:100]!r} comes twice")
        return unique_pairs

    try:
        if len(body) <= SMALL_BYTES:
            json.loads(body, object_pairs_hook=unique)
    except RequestError as error:
        return error
    except RecursionError:
        pass
    return invalid("a key comes twice in an object")
