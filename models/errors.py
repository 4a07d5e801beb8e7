"""The exception for mistakes of the user, whose message is one line, and the parts of such messages."""

import json

from pydantic_core import ValidationError

MAX_VALUE_LENGTH = 200  # characters of a value in a message
# Allowed values in terms of YAML and JSON, in place of pydantic's messages in terms of Python.
ALLOWED = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "an object",
    "string_too_short": "text of at least one character",
    "string_type": "text",
    "too_short": "a list of at least one",
    "tuple_type": "a list",
}


class InputError(ValueError):
    """A mistake in what the user gave: a parameter, a file, a device, an address.

    The message is one line that names the key or file, the value found and what is allowed.
    Stages print it without a traceback and exit with status 1.
    """


def one_line(text: object) -> str:
    """A text, or the message of an exception, without line breaks and repeated spaces."""
    return " ".join(str(text).split())


def first_problem(error: ValidationError) -> str:
    """The key, the value and what is allowed, of the first problem of a content in JSON that pydantic rejects."""
    problem = error.errors(include_url=False)[0]
    key = _printable(".".join(map(str, problem["loc"])))
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed = ALLOWED.get(problem["type"], reason)
    if problem["type"] == "json_invalid":
        return f"not JSON ({reason.removeprefix('Invalid JSON: ')})"
    if problem["type"] == "missing":
        return f"{key}: missing"
    if "allowed:" in allowed:
        return ": ".join(filter(None, (key, one_line(allowed))))
    value = _printable(json.dumps(problem["input"], ensure_ascii=False, default=str))
    return f"{key or 'the content'} = {value}; allowed: {allowed}"


def _printable(text: str) -> str:
    """The beginning of a text, on one line, with characters that a terminal would interpret as escape sequences."""
    cut = text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)
