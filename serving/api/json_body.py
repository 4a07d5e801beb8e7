"""A request's body as a JSON object in which no key comes twice: of two, a reader cannot know which one counts."""

import json
from collections import Counter
from typing import Any

import orjson

from serving.errors import invalid


def parse(body: bytes, advice: str = "") -> dict[str, Any]:
    """The body as a JSON object without duplicate keys. Raises RequestError, with `advice` where it is no JSON."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}{advice}" if body else "the body is empty") from None
    if not isinstance(document, dict):
        raise invalid('the body is no JSON object; allowed: {"inputs": [...]}')
    try:
        if body.count(b'"') != _quotes(document):
            _refuse_duplicates(body)
    except RecursionError:
        raise invalid("the body is nested too deeply") from None
    return document


def _quotes(value: Any) -> int:
    """The quotation marks that a value needs, or fewer: a list that begins with a number or a list is not searched."""
    if type(value) is str:
        return 2
    if type(value) is dict:
        return 2 * len(value) + sum(_quotes(inner) for inner in value.values() if type(inner) in (str, dict, list))
    if type(value) is list and value and type(value[0]) in (str, dict):
        return sum(map(_quotes, value))
    return 0


def _refuse_duplicates(body: bytes) -> None:
    """The slow and exact look, only where there are more quotation marks than keys and texts need."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
            raise invalid(f"the key {twice[:100]!r} comes twice")
        return found

    json.loads(body, object_pairs_hook=unique)
