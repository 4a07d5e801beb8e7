"""Which parameters of the section `data` a source uses; any other is refused, so that none is set in vain."""

from collections.abc import Collection

from models.errors import InputError
from pipelines.config.params import DataSource

UNSET = (None, (), "auto")


def refuse_others(config: DataSource, used: Collection[str]) -> None:
    """Raise InputError where a parameter is set that is not among `used`."""
    for name, value in config:
        if name not in ("source", *used) and value not in UNSET:
            allowed = {"mirrors": "[]", "task": "auto"}.get(name, "null")
            raise InputError(f"data.{name} = {_shown(value)}: {config.source} does not use it; allowed: {allowed}")


def _shown(value: object) -> str:
    """A list as YAML has it."""
    return str(list(value)) if isinstance(value, tuple) else repr(value)
