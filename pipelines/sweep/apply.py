"""Parameters written into `params.yaml`, with everything else as it is, comments included."""

import codecs
import copy
import shutil
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.util import load_yaml_guess_indent

from models.errors import InputError
from pipelines.artifacts import json_object
from pipelines.artifacts.atomic import naming, replacing
from pipelines.config import overrides, params
from pipelines.config.params import Params

WIDTH = 4096  # no line is broken


def write(values: Mapping[str, Any], path: Path = params.FILE) -> None:
    """Replace the values of parameters by dotted name; the file keeps its place, mode and line endings.

    Raises InputError if the result is not valid, or would change others that share a section by a YAML anchor.
    """
    expected = overrides.replace(params.read(path), values)
    text = path.read_bytes()
    unix = text.replace(b"\r\n", b"\n").decode("utf-8-sig")
    content, _, offset = load_yaml_guess_indent(unix, yaml=_yaml())
    for name, value in values.items():
        section, key = overrides.locate(content, name)
        section[key] = _own(section[key], value)
    with replacing(path.resolve()) as beside:
        with naming(path):
            beside.write_bytes(_dump(content, text, offset or 0))
            shutil.copymode(path, beside)
        if changed := _differences(params.read(beside), expected):
            anchors = ", ".join(sorted({anchor for name in values for anchor in _anchors(content, name)}))
            problem = f"the YAML anchor {anchors} would also change {', '.join(changed)}"
            raise InputError(f"{path}: {', '.join(values)} not written: {problem}; write its content out in each place")


def _own(current: object, value: Any) -> Any:
    """The value; a list in the notation of the current one, with its comment, but not shared by its aliases."""
    if not (isinstance(value, list) and isinstance(current, CommentedSeq)):
        return value
    own = copy.deepcopy(current)
    own.yaml_set_anchor(None)
    own[:] = value  # in place: it holds the comment
    return own


def _dump(content: Any, text: bytes, offset: int) -> bytes:
    """The content in YAML, with the byte order mark and the line endings of another text.

    `offset` is the number of spaces before the dashes of its lists.
    """
    stream, yaml = BytesIO(), _yaml()
    yaml.indent(sequence=offset + 2, offset=offset)
    yaml.dump(content, stream)
    dumped = stream.getvalue()
    if 2 * text.count(b"\r\n") > text.count(b"\n"):
        dumped = dumped.replace(b"\n", b"\r\n")
    return codecs.BOM_UTF8 + dumped if text.startswith(codecs.BOM_UTF8) else dumped


def _differences(settings: Params, expected: Params) -> list[str]:
    """The names of the parameters whose values differ."""
    values = dict(json_object.flatten(expected.model_dump(mode="json")))
    flat = json_object.flatten(settings.model_dump(mode="json"))
    return [name for name, value in flat if values.get(name) != value]


def _anchors(content: Any, name: str) -> Iterator[str]:
    """The anchors of the sections that hold a parameter."""
    for section in name.split(".")[:-1]:
        content = content[section]
        if anchor := content.anchor.value:
            yield f"&{anchor}"


def _yaml() -> YAML:
    """Reads and writes a file without changes of its own."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
