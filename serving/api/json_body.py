"""Parsing of JSON bodies. Duplicate keys are rejected: implementations differ in which of the values counts."""

import json
from collections import Counter
from typing import Any

import orjson

from serving.errors import invalid


def parse(body: bytes, advice: str = "") -> dict[str, Any]:
    """The body as a JSON object without duplicate keys. Raises RequestError; `advice` is added if it is not JSON."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}{advice}" if body else "the body is empty") from None
    if not isinstance(document, dict):
        raise invalid('the body is no JSON object; allowed: {"inputs": [...]}')
    try:
        if body.count(b'"') != _quotes(document):
            _reject_duplicates(body)
    except RecursionError:
        raise invalid("the body is nested too deeply") from None
    return document


def _quotes(value: Any) -> int:
    """A lower bound of the quotation marks in a value's JSON: lists beginning with a number or a list are skipped."""
    if type(value) is str:
        return 2
    if type(value) is dict:
        return 2 * len(value) + sum(_quotes(inner) for inner in value.values() if type(inner) in (str, dict, list))
    if type(value) is list and value and type(value[0]) in (str, dict):
        return sum(map(_quotes, value))
    return 0


def _reject_duplicates(body: bytes) -> None:
    """Raise RequestError for a duplicate key: exact and slow, so only if there are surplus quotation marks."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique_pairs = dict(pairs)
        if len(unique_pairs) != len(pairs):
            ((key, _),) = Counter(name for name, _ in pairs).most_common(1)
            raise invalid(f"the key {key[:100]!r} comes twice")
        return unique_pairs

    json.loads(body, object_pairs_hook=unique)
