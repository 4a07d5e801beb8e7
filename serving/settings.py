"""Settings of the service, read from environment variables `TANDEM_*`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.errors import InputError
from models.onnx.session import Device

PREFIX = "TANDEM_"
CHAMPION = Path(__file__).parents[1] / "artifacts" / "champion"  # relative to the code, also in a Bento
REGISTRY = Path("artifacts", "registry")  # downloaded champions, in a folder for each NAME@ALIAS
ADDRESS = re.compile(r"models:/([\w. -]+@[\w.-]+)")
# In lower case, without a path and without the default port (RFC 6454); `null` is that of a local file.
ORIGIN = re.compile(
    r"\*|null|(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
RESERVED_NAMES = ("stats", ".", "..")  # /v2/models/stats has the statistics of all models
GPU_MEMORY_BYTES = 1 << 31
ENGINES = Path.home() / ".cache" / "tandem" / "engines"


def _split(value: object) -> object:
    """Split a comma-separated list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _are_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Raise ValueError for what no browser sends as the header `Origin`: it would allow nothing."""
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin; allowed: *, null or origins such as https://app.example")
    return origins


def _folder(value: object) -> object:
    """The folder for the champion at an address in the registry."""
    if not str(value).startswith("models:"):
        return value
    if parts := ADDRESS.fullmatch(str(value)):
        return REGISTRY / parts[1]
    raise ValueError("not an address in the registry")


def _none_if_empty(value: object) -> object:
    """Treat an empty variable as unset."""
    return None if value == "" else value


def _not_reserved(name: str) -> str:
    """Raise ValueError for a name whose path has another meaning."""
    if name in RESERVED_NAMES:
        raise ValueError("reserved")
    return name


OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]


class Settings(BaseModel):
    """The environment variable of a field is `TANDEM_` and its name in upper case."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    champion: Annotated[Path, BeforeValidator(_folder)] = Field(
        CHAMPION, description="folder of the champion, or models:/NAME@ALIAS in the registry at MLFLOW_TRACKING_URI"
    )
    device: Device = Field(
        "auto", description="auto, cpu, cuda or tensorrt; a requested GPU that cannot be used is an error"
    )
    engines: Path = Field(ENGINES, description="folder for compiled TensorRT engines")
    gpu_memory_bytes: int = Field(
        GPU_MEMORY_BYTES,
        ge=1 << 26,
        description="most GPU memory that a worker allocates for one model, without the CUDA context",
    )
    model_name: Annotated[str, AfterValidator(_not_reserved)] = Field(
        "tandem",
        pattern=r"^[\w.-]{1,100}$",
        description=f"model name in the Open Inference Protocol, other than {', '.join(RESERVED_NAMES)}",
    )
    workers: int = Field(
        0, ge=0, le=256, description="number of worker processes; 0 means one per available core, on a GPU at most 2"
    )
    poll_seconds: float = Field(1.0, gt=0, le=60, description="interval of the check for a new champion")
    max_body_bytes: int = Field(4_194_304, ge=1024, description="largest request body")
    max_response_bytes: int = Field(
        16_777_216, ge=65_536, description="largest response of a prediction, with the outputs of the model"
    )
    max_batch: int = Field(4096, ge=1, description="most examples in one request")
    max_pixels: int = Field(16_000_000, ge=1, description="most pixels of all images in one request, width x height")
    max_files: int = Field(64, ge=1, description="most images in one form")
    max_waiting: int = Field(512, ge=1, description="most requests a worker holds at once")
    max_held_bytes: int = Field(
        100_663_296,
        ge=0,
        description="most bytes a worker holds of request bodies beyond 64 KiB each, and of what is parsed of them",
    )
    max_wait_seconds: float = Field(0.1, gt=0, description="longest expected queueing time of an accepted request")
    run_rows: int = Field(64, ge=1, description="most examples in one run of the model")
    timeout_seconds: float = Field(10.0, gt=0, description="time limit for receiving and for answering a request")
    turn_seconds: float = Field(
        60.0, ge=0, description="additional time limit of a large JSON body or image, which waits for its turn"
    )
    max_connections: int = Field(1024, ge=1, description="most open connections of a worker")
    grpc_port: int = Field(0, ge=0, le=65535, description="port of the Open Inference Protocol by gRPC; 0 means none")
    max_header_bytes: int = Field(16_384, ge=256, description="most bytes of the headers of a request")
    max_headers: int = Field(100, ge=1, description="most headers of a request")
    max_url_bytes: int = Field(8192, ge=64, description="longest URL: path and query")
    header_timeout_seconds: float = Field(
        10.0, gt=0, description="time limit for the headers of a request, and for the silence of a new connection"
    )
    write_timeout_seconds: float = Field(
        10.0, gt=0, description="longest time in which a client reads nothing of its response"
    )
    api_key: str = Field(
        "",
        pattern=r"^[!-~]*$",
        description="if set, requests need it as `x-api-key` or `Authorization: Bearer`; printable ASCII, no spaces",
    )
    api_keys_file: OptionalPath = Field(None, description="file of named API keys with quotas")
    verify_key: OptionalPath = Field(
        None, description="public key; a bundle is served only with a valid signature of it"
    )
    signing_key: OptionalPath = Field(
        None, description="private key that `promote` and `pipelines.rollback` sign with; not used by the service"
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_are_origins)] = Field(
        (), description="comma-separated origins whose pages may call the service, or *"
    )
    log_format: Literal["text", "json"] = Field("text", description="format of all log lines: text or json")
    log_share: float = Field(0.0, ge=0, le=1, description="share of the requests that are logged")
    challenger: OptionalPath = Field(None, description="folder of a bundle to compare with the champion")
    shadow_share: float = Field(1.0, ge=0, le=1, description="share of the requests that the challenger receives")
    canary_share: float = Field(0.0, ge=0, le=1, description="share of the requests that the challenger answers")
    canary_window: int = Field(500, ge=1, description="latest requests of a worker that count for a rollback")
    canary_min_requests: int = Field(50, ge=1, description="fewest requests before a rollback")
    canary_max_errors: float = Field(0.05, ge=0, le=1, description="share of failed requests that is allowed")
    canary_max_delay_seconds: float = Field(
        0.05, ge=0, description="mean time by which the challenger may be slower than the champion"
    )
    canary_max_disagreement: float = Field(
        0.1, ge=0, le=1, description="share of compared examples whose predictions may differ"
    )
    canary_timeout_seconds: float = Field(
        0.5, gt=0, description="time after which the champion answers in place of the challenger"
    )
    prediction_log: OptionalPath = Field(None, description="folder for the prediction log")
    prediction_log_inputs: bool = Field(False, description="also log the pixels of images")
    prediction_log_bytes: int = Field(16_777_216, ge=4096, description="size at which a log file is rotated")
    prediction_log_files: int = Field(8, ge=2, le=1000, description="log files kept per worker")


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from `environment`. Raises InputError for unknown names and invalid values."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise InputError(
            "; ".join(_explain(str(each["loc"][0]), each["msg"], given) for each in error.errors())
        ) from None


def _explain(name: str, message: str, given: Mapping[str, str]) -> str:
    """The error of one variable: its value, unless it is the API key, and the allowed values."""
    variable = PREFIX + name.upper()
    if name not in Settings.model_fields:
        allowed = ", ".join(PREFIX + field.upper() for field in Settings.model_fields)
        return f"{variable}: no such setting; allowed: {allowed}"
    field = Settings.model_fields[name]
    value = "***" if name == "api_key" else repr(given[name])
    return f"{variable}: {value}: {message} ({field.description}; default {field.default!r})"
