"""Parameters replaced by their dotted names, such as `train.learning_rate`."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import InputError
from pipelines.artifacts import json_object
from pipelines.config import params, yaml_model
from pipelines.config.params import Params
from pipelines.config.sweep import SECTIONS

# Without effect on the model that is found, or that choose it by luck.
FIXED = ("train.device", "train.devices", "train.seed", "train.workers")


def value_of(settings: Params, name: str) -> Any:
    """The value of a parameter as in YAML: lists instead of tuples."""
    section, key = locate(settings.model_dump(mode="json"), name)
    return section[key]


def locate(content: Any, name: str) -> tuple[Any, str]:
    """The section of nested sections that has a parameter, and the key of the parameter there."""
    *sections, key = name.split(".")
    for section in sections:
        content = content[section]
    return content, key


def replace(settings: Params, values: Mapping[str, Any]) -> Params:
    """The parameters with other values by dotted name. Raises InputError if they are not valid."""
    try:
        return _validate(settings, values)
    except ValidationError as error:
        raise yaml_model.input_error(params.FILE, error, Params) from error


def require_sweep(settings: Params) -> None:
    """Raise InputError if the section `sweep` names a parameter that cannot be searched, or a value it cannot have.

    Each value is checked by itself: whether several are compatible with each other depends on the trial.
    """
    names = (name for name, _ in json_object.flatten(settings.model_dump(mode="json")))
    known = [name for name in names if name.split(".")[0] in SECTIONS]
    searchable = [name for name in known if not _is_fixed(name)]
    for name, space in settings.sweep.parameters.items():
        if name not in searchable:
            raise InputError(f"{params.FILE}: sweep.parameters.{name}: {_reason(name, known)}")
        for value in space.extremes:
            _require_valid(settings, name, value)


def _reason(name: str, known: list[str]) -> str:
    if _is_fixed(name):
        return f"cannot be searched; allowed: parameters of train and models, but for {', '.join(FIXED)}"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown parameter; {hint}allowed: dotted names of parameters of train and models"


def _is_fixed(name: str) -> bool:
    return ".".join(name.split(".")[:2]) in FIXED


def _require_valid(settings: Params, name: str, value: object) -> None:
    location = tuple(name.split("."))
    try:
        _validate(settings, {name: value})
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["loc"][: len(location)] == location:
                message = yaml_model.message(problem, Params)
                raise InputError(f"{params.FILE}: sweep.parameters.{name}: {message}") from error


def _validate(settings: Params, values: Mapping[str, Any]) -> Params:
    content = settings.model_dump(mode="json")
    for name, value in values.items():
        section, key = locate(content, name)
        section[key] = value
    return Params.model_validate(content)
