"""Parameters written into `params.yaml`, with everything else as it is, comments included."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from pipelines.artifacts.atomic import naming, replacing
from pipelines.config import overrides, params

WIDTH = 4096  # no line is broken


def write(values: Mapping[str, Any], path: Path = params.FILE) -> None:
    """Replace the values of parameters by dotted name. Raises InputError if the result is not valid."""
    yaml = _yaml()
    content = yaml.load(path)
    for name, value in values.items():
        section, key = overrides.locate(content, name)
        if isinstance(value, list) and isinstance(section[key], CommentedSeq):
            section[key][:] = value  # in place: it holds the comment
        else:
            section[key] = value
    with replacing(path) as beside:
        with naming(path):
            yaml.dump(content, beside)
        params.read(beside)


def _yaml() -> YAML:
    """Reads and writes a file without changes of its own."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
