"""JSON values in error messages."""

from collections.abc import Iterable
from heapq import nsmallest
from typing import Any

from serving.api.schemas import FLOAT32_MAX


def is_float32(value: Any) -> bool:
    """True if a JSON value is a number within the range of float32."""
    return type(value) in (int, float) and abs(value) <= FLOAT32_MAX


def first_names(names: Iterable[str]) -> str:
    """The first few names in alphabetical order, as text of at most 200 characters."""
    return ", ".join(name[:200] for name in nsmallest(10, names))[:200]


def quote(value: Any) -> str:
    """A short JSON value itself, any other summarized."""
    if type(value) is str:
        return repr(value[:50])
    if type(value) is list and len(value) < 9 and not any(isinstance(each, list | dict) for each in value):
        return str(value)[:100]
    return summarize(value)


def summarize(value: Any) -> str:
    """The type of a JSON value, with its size or number."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case list() | str():
            return f"{'a list' if isinstance(value, list) else 'text'} of {len(value)}"
        case dict():
            return "an object"
        case _:
            return f"the number {value}"
