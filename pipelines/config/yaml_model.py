"""YAML files read into pydantic models; errors are stated in terms of the file, in one line."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node

from models.errors import ALLOWED, MAX_VALUE_LENGTH, InputError, one_line

Parsed = TypeVar("Parsed", bound=BaseModel)
# In terms of YAML, where they differ from those of JSON.
YAML_ALLOWED = dict.fromkeys(("dict_type", "model_type"), "a section with keys")


class _Constructor(SafeConstructor):
    """Names the place of a value that is not valid for its type, such as the date 2026-02-30."""

    def construct_non_recursive_object(self, node: Node, tag: str | None = None) -> Any:
        try:
            return super().construct_non_recursive_object(node, tag)
        except (ArithmeticError, LookupError, ValueError) as error:
            problem = f"not a valid {str(node.tag).rpartition(':')[2]}: {one_line(error)}"
            raise ConstructorError(None, None, problem, node.start_mark) from error


def read(path: Path, model: type[Parsed], replaced: Mapping[str, str] = MappingProxyType({})) -> Parsed:
    """Parse the file and validate its content; `replaced` are keys of earlier versions with what replaces them.

    Raises InputError, one line, naming each wrong key, its value and the allowed values.
    """
    values = load(path, str(path))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise input_error(path, error, model, replaced) from error


def input_error(
    path: Path, error: ValidationError, model: type[BaseModel], replaced: Mapping[str, str] = MappingProxyType({})
) -> InputError:
    """One line with all problems, in terms of the file."""
    problems = _without_consequences(error.errors(include_url=False))
    return InputError(f"{path}: {'; '.join(message(problem, model, replaced) for problem in problems)}")


def load(source: Path | str, where: str) -> object:
    """The content of a file or a text in YAML 1.2, as DVC reads it: 1e-3 is a number.

    Raises InputError, one line, beginning with `where`.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(source)
    except FileNotFoundError as error:
        raise InputError(f"{where}: not found; run from the root of the repository") from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply") from error
    except (YAMLError, ArithmeticError, ValueError) as error:
        raise InputError(f"{where}: not valid YAML: {_syntax(error)}") from error


def _syntax(error: Exception) -> str:
    """Line, column and problem, without ruamel's advice to disable the check."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {one_line(error.problem)}"
    return one_line(error)


def _without_consequences(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """The problems without those of a list that only follow from a rejected item of it."""
    locations = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if not any(loc != problem["loc"] and loc[: len(problem["loc"])] == problem["loc"] for loc in locations)
    ]


def message(problem: ErrorDetails, model: type[BaseModel], replaced: Mapping[str, str] = MappingProxyType({})) -> str:
    """The key, its value and what is allowed."""
    # pydantic marks a wrong key of a mapping by an item of its own.
    key = ".".join(str(part) for part in problem["loc"] if part != "[key]") or "the file"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        if key in replaced:
            return f"{key}: no longer a parameter; use {replaced[key]}"
        return f"{key}: unknown key; {_allowed_keys(problem['loc'], model)}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed = (ALLOWED | YAML_ALLOWED).get(problem["type"], reason)
    return f"{key}: {allowed}" if "allowed:" in allowed else f"{key} = {_as_yaml(problem['input'])}; allowed: {allowed}"


def _as_yaml(value: object) -> str:
    """The value in YAML notation: null, true, .nan; in that of Python if it has none in JSON, as one in itself."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = one_line(value)
    return {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}.get(text, text)[:MAX_VALUE_LENGTH]


def _allowed_keys(location: tuple[Any, ...], model: type[BaseModel]) -> str:
    """The keys of the section that holds the unknown key, with the most similar one as a suggestion."""
    section: Any = model
    for part in location[:-1]:
        # A mapping has values of one model, by any name.
        section = section.model_fields[part].annotation if hasattr(section, "model_fields") else get_args(section)[1]
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
