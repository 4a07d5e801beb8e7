"""Whether `artifacts/data` was prepared with the parameters of `params.yaml`, as DVC recorded it in `dvc.lock`."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import InputError
from pipelines.artifacts import json_object, paths
from pipelines.config import params, yaml_model
from pipelines.config.params import Params

LOCK_FILE = Path("dvc.lock")
SECTIONS = ("data", "prepare")
ADVICE = "run `dvc repro prepare`"


def require_current(settings: Params) -> None:
    """Raise InputError if the prepared data is of other parameters or raw data, or not what `dvc.lock` records.

    Of data that was prepared without DVC there is no record, and nothing is compared.
    """
    stages = _recorded_stages()
    load, prepare = (stages.get(name, {}) for name in ("load", "prepare"))
    if not prepare:
        return
    if changed := _changed(_parameters(load) | _parameters(prepare), settings):
        raise InputError(f"{params.FILE}: {'; '.join(changed)}; {ADVICE}")
    if _md5(prepare, "deps", paths.RAW) != _md5(load, "outs", paths.RAW):
        raise InputError(f"{paths.DATA}: prepared from other data than {paths.RAW} now has; {ADVICE}")
    actual = hashlib.md5(paths.SPEC.read_bytes(), usedforsecurity=False).hexdigest()
    if _md5(prepare, "outs", paths.SPEC) != actual:
        raise InputError(f"{paths.SPEC}: not the one that {LOCK_FILE} records; {ADVICE}")


def _recorded_stages() -> Mapping[str, Any]:
    """The stages of `dvc.lock`; none without the file."""
    content: Any = yaml_model.load(LOCK_FILE, str(LOCK_FILE)) if LOCK_FILE.is_file() else None
    stages: Mapping[str, Any] = (content or {}).get("stages", {})
    return stages


def _parameters(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a stage depended on, by dotted name."""
    return dict(json_object.flatten(recorded.get("params", {}).get(str(params.FILE), {})))


def _changed(recorded: Mapping[str, Any], settings: Params) -> list[str]:
    """The parameters that differ, each with both values."""
    content = settings.model_dump(mode="json")
    current = json_object.flatten({name: content[name] for name in SECTIONS})
    return [
        f"{name} = {json.dumps(value)}, but {paths.DATA} was prepared with {json.dumps(recorded.get(name))}"
        for name, value in current
        if name not in recorded or recorded[name] != value
    ]


def _md5(recorded: Mapping[str, Any], kind: str, path: Path) -> object:
    """The MD5 of a dependency or an output of a stage."""
    return {one["path"]: one.get("md5") for one in recorded.get(kind, ())}.get(path.as_posix())
