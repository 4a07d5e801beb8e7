"""JSON values: what they are, in few words."""

from typing import Any

from serving.api.schemas import FLOAT32_MAX


def is_float32(value: Any) -> bool:
    """Whether a JSON value is a number that float32 can hold."""
    return type(value) in (int, float) and abs(value) <= FLOAT32_MAX


def show(value: Any) -> str:
    """A JSON value itself where that is short, else in few words."""
    if type(value) is str:
        return repr(value[:50])
    if type(value) is list and len(value) < 9 and not any(isinstance(each, list | dict) for each in value):
        return str(value)[:100]
    return describe(value)


def describe(value: Any) -> str:
    """A JSON value in few words."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case list() | str():
            return f"{'a list' if isinstance(value, list) else 'text'} of {len(value)}"
        case dict():
            return "an object"
        case _:
            return f"the number {value}"
