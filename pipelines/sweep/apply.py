"""Parameters written into `params.yaml`, with everything else as it is, comments included."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from pipelines.artifacts.atomic import naming
from pipelines.config import params

WIDTH = 4096  # no line is broken


def write(values: Mapping[str, Any], path: Path = params.FILE) -> None:
    """Replace the values of parameters by dotted name. Raises InputError if the result is not valid."""
    yaml = _yaml()
    content = yaml.load(path)
    for name, value in values.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place[section]
        if isinstance(value, list) and isinstance(place[key], CommentedSeq):
            place[key][:] = value  # in place: it holds the comment
        else:
            place[key] = value
    beside = path.with_name(f".{path.name}.partial")
    try:
        with naming(path):
            yaml.dump(content, beside)
        params.read(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _yaml() -> YAML:
    """Reads and writes a file without changes of its own."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
