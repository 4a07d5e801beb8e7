"""Rejection of options in the section `data` that a source does not use."""

from collections.abc import Collection

from models.errors import InputError
from pipelines.config.params import DataSource

UNSET = (None, (), "auto")


def reject_unused(config: DataSource, used: Collection[str]) -> None:
    """Raise InputError if an option that is not in `used` is set."""
    for name, value in config:
        if name not in ("source", *used) and value not in UNSET:
            allowed = {"mirrors": "[]", "task": "auto"}.get(name, "null")
            raise InputError(f"data.{name} = {_as_yaml(value)}: {config.source} does not use it; allowed: {allowed}")


def _as_yaml(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else repr(value)
