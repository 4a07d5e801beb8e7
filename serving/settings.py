"""What can be set from outside: one frozen object, read from the environment variables `TANDEM_*`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.errors import InputError
from models.session import Device

PREFIX = "TANDEM_"
CHAMPION = Path(__file__).parents[1] / "artifacts" / "champion"  # beside the code, in a Bento too
REGISTRY = Path("artifacts", "registry")  # champions that come from a registry, a folder for each NAME@ALIAS
ADDRESS = re.compile(r"models:/([\w. -]+@[\w.-]+)")
ENGINES = Path.home() / ".cache" / "tandem" / "engines"


def _split(value: object) -> object:
    """A comma-separated list as the environment gives it."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _folder(value: object) -> object:
    """The folder in which the champion at an address of the registry is kept."""
    if not str(value).startswith("models:"):
        return value
    if parts := ADDRESS.fullmatch(str(value)):
        return REGISTRY / parts[1]
    raise ValueError("not an address in the registry")


def _given(value: object) -> object:
    """An empty variable is one that is not set."""
    return None if value == "" else value


OptionalPath = Annotated[Path | None, BeforeValidator(_given)]


class Settings(BaseModel):
    """The environment variable of each field is its name in capitals behind `TANDEM_`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    champion: Annotated[Path, BeforeValidator(_folder)] = Field(
        CHAMPION, description="the champion's folder, or models:/NAME@ALIAS in the registry at MLFLOW_TRACKING_URI"
    )
    device: Device = Field(
        "auto", description="auto | cpu | cuda | tensorrt; a GPU asked for is an error where it cannot be used"
    )
    engines: Path = Field(ENGINES, description="folder in which TensorRT keeps what it has compiled")
    model_name: str = Field("tandem", pattern=r"^[\w.-]+$", description="the model's name in the inference protocol")
    workers: int = Field(0, ge=0, le=256, description="processes; 0 means one for each core available")
    poll_seconds: float = Field(1.0, gt=0, le=60, description="how often a new champion is looked for")
    max_body_bytes: int = Field(4_194_304, ge=1024, description="largest request; larger ones get 413")
    max_batch: int = Field(4096, ge=1, description="most examples in one request")
    max_pixels: int = Field(16_000_000, ge=1, description="most pixels of the pictures in one request, width x height")
    max_files: int = Field(64, ge=1, description="most pictures in one upload")
    max_waiting: int = Field(512, ge=1, description="requests a worker holds; more get 503 with Retry-After")
    max_held_bytes: int = Field(134_217_728, ge=0, description="of requests in several pieces that a worker holds")
    max_wait_seconds: float = Field(0.1, gt=0, description="longest wait that a worker expects of those it takes")
    run_rows: int = Field(64, ge=1, description="most examples in one run of the model")
    timeout_seconds: float = Field(10.0, gt=0, description="longest time for receiving and for answering a request")
    api_key: str = Field(
        "",
        pattern=r"^[!-~]*$",
        description="where set, requests need it as `x-api-key` or `Authorization: Bearer`; printable ASCII, no spaces",
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        (), description="comma-separated origins whose pages may call, or *"
    )
    log_share: float = Field(0.0, ge=0, le=1, description="share of the requests that leave a line in the log")
    challenger: OptionalPath = Field(None, description="folder of a bundle that is compared, and never answers")
    shadow_share: float = Field(1.0, ge=0, le=1, description="share of the requests that the challenger is asked too")
    prediction_log: OptionalPath = Field(None, description="folder for a line on each example, for finding drift")
    prediction_log_inputs: bool = Field(False, description="whether those lines hold the pixels of pictures too")
    prediction_log_bytes: int = Field(16_777_216, ge=4096, description="size at which a file of them is set aside")
    prediction_log_files: int = Field(8, ge=2, le=1000, description="files of them that each worker keeps")


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environment`. Raises InputError for unknown names and for senseless values."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise InputError(
            "; ".join(_explain(str(each["loc"][0]), each["msg"], given) for each in error.errors())
        ) from None


def _explain(name: str, message: str, given: Mapping[str, str]) -> str:
    """One mistake: the variable, its value (never a key's) and what is allowed."""
    variable = PREFIX + name.upper()
    if name not in Settings.model_fields:
        allowed = ", ".join(PREFIX + field.upper() for field in Settings.model_fields)
        return f"{variable}: no such setting; allowed: {allowed}"
    field = Settings.model_fields[name]
    value = "***" if name == "api_key" else repr(given[name])
    return f"{variable}: {value}: {message} ({field.description}; default {field.default!r})"
