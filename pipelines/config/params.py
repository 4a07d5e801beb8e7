"""Typed sections of `params.yaml`, frozen; the only module that reads the file."""

import codecs
import re
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from models.config import (
    Architecture,
    Config,
    Count,
    Counts,
    Device,
    Fraction,
    Framework,
    Models,
    Positive,
    Seed,
    Train,
)
from models.errors import InputError
from models.spec import Task
from pipelines.config import yaml_model
from pipelines.config.sources import OPTIONS, REQUIRED, SOURCES, SUFFIXES, SourceInfo, known_source
from pipelines.config.sweep import Sweep

FILE = Path("params.yaml")
PILLOW_LIMIT = 178_956_970  # pixels, beyond which Pillow rejects a WebP file
UNUSED_PATH = "data"  # folder for files of the user
# Keys of earlier versions, with what replaces them.
REPLACED = {"promote.tie": "promote.significance: the p-value of a paired test above which candidates are tied"}
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Value = TypeVar("Value", str, int)
Correction = Literal["bonferroni", "benjamini_hochberg", "none"]


def each_once(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return `values`; raise ValueError if one of them is repeated."""
    repeated = dict.fromkeys(str(value) for value in values if values.count(value) > 1)
    if repeated:
        raise ValueError(f"{', '.join(repeated)} more than once; allowed: each once")
    return values


def registrable(name: str) -> str:
    """Return `name`; raise ValueError if it has a character that MLflow does not allow in a registered model."""
    if {"/", ":"} & set(name):
        raise ValueError("a name without / and :")
    return name


def without_tilde(path: str) -> str:
    """Return `path`; raise ValueError if it begins with ~, which DVC does not expand."""
    if path.startswith("~"):
        raise ValueError("an absolute path, or one relative to the repository; DVC does not expand ~")
    return path


def known_encoding(name: str) -> str:
    """Return `name`; raise ValueError if Python has no text encoding of this name."""
    try:
        if codecs.lookup(name)._is_text_encoding:
            return name
    except LookupError:
        pass
    raise ValueError("an encoding that Python knows, such as utf-8, utf-16 or windows-1252")


Names = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), AfterValidator(each_once)]


class DataSource(Config):
    """The source of the examples and its options; each source rejects options that it does not use.

    `path` is a dependency of the stage `load` in `dvc.yaml`, which has to exist: by default the folder UNUSED_PATH.
    For images: `size` is [height, width], `max_pixels` the largest image that is decoded, `unreadable` the maximum
    share of files that cannot be decoded. For tables: the columns `target` and `features` (null: all others), those
    of `features` read as `categories` or as `dates`, texts for `missing` values, the format of a text file (null:
    detected), and the `task`.
    """

    source: Annotated[str, AfterValidator(known_source)]
    path: Annotated[Text, AfterValidator(without_tilde)]
    mirrors: Annotated[tuple[Text, ...], Field(strict=False)]
    size: Annotated[tuple[Count, Count], Field(strict=False)] | None
    channels: Literal[1, 3] | None
    max_pixels: Annotated[int, Field(ge=1, le=PILLOW_LIMIT)] | None
    unreadable: Fraction | None
    target: Text | None
    features: Names | None
    categories: Names | None
    dates: Names | None
    missing: Names | None
    day_first: bool | None
    separator: Literal["comma", "semicolon", "tab", "pipe"] | None
    decimal: Literal["point", "comma"] | None
    encoding: Annotated[Text, AfterValidator(known_encoding)] | None
    task: Literal["auto", "classification", "regression"]

    @property
    def given_path(self) -> Path | None:
        """`path`, or None if it has its default value."""
        return None if self.path == UNUSED_PATH else Path(self.path)

    @property
    def info(self) -> SourceInfo:
        """Properties of the examples that are known before they are loaded."""
        kind, task, shape, classes = SOURCES[self.source]
        if self.task != "auto":
            task = self.task
        return SourceInfo(self.source, kind, task, shape or self.size or (), classes)

    def require_options(self) -> None:
        """Raise InputError if an option is set that the source does not use, or one is not set that it needs.

        Also if `path` has not one of the suffixes of the files that it reads.
        """
        for name, value in self:
            allowed = {"mirrors": "[]", "task": "auto", "path": UNUSED_PATH}.get(name, "null")
            if name not in ("source", *OPTIONS.get(self.source, ())) and value not in (None, (), allowed):
                shown = str(list(value)) if isinstance(value, tuple) else repr(value)
                raise InputError(f"data.{name} = {shown}: {self.source} does not use it; allowed: {allowed}")
        for name, allowed in REQUIRED.get(self.source, {}).items():
            if getattr(self, name) is None:
                raise InputError(f"data.{name} = null: {self.source} needs it; allowed: {allowed}")
        suffixes = SUFFIXES.get(self.source)
        if suffixes and Path(self.path).suffix.lower() not in suffixes:
            raise InputError(f"data.path = {self.path}; allowed: a file that ends in {', '.join(suffixes)}")

    def require_path(self) -> None:
        """Raise InputError if a path is given that does not exist and that DVC does not know.

        Also if it is a file where the source reads a folder.
        With `--pull` or `--allow-missing` DVC runs stages without the raw data.
        """
        if self.given_path and not self.given_path.exists() and not _is_tracked(self.given_path):
            raise InputError(f"data.path = {self.path!r}: does not exist; allowed: an existing file or folder")
        if self.source == "image_folder" and Path(self.path).is_file():
            raise InputError(f"data.path = {self.path!r}: a file; allowed: a folder with a folder for each class")


def _is_tracked(path: Path) -> bool:
    """True if DVC tracks a file or folder, or has recorded it in `dvc.lock`."""
    if Path(f"{path}.dvc").exists():
        return True
    try:
        lock_file = Path("dvc.lock").read_text("utf-8", "replace")
    except FileNotFoundError:
        return False
    plain = (line.lstrip(" -").replace("'", "").replace('"', "") for line in lock_file.splitlines())
    return f"path: {path.as_posix()}" in plain


class Prepare(Config):
    """Shares of the validation and test split in all examples, and how examples are assigned.

    By default at random with `seed`. `group_duplicates` keeps equal examples, and the column `group` all rows with the
    same value, in one split. By the column `order` the first rows are the training split and the last ones the test
    split.
    """

    validation: Share
    test: Share
    seed: Seed
    group_duplicates: bool
    group: Text | None
    order: Text | None

    @model_validator(mode="after")
    def require_one_rule(self) -> "Prepare":
        """Raise ValueError if examples are to be assigned both by order and by group."""
        if self.order is not None and (self.group is not None or self.group_duplicates):
            raise ValueError(f"order = {self.order!r} with group or group_duplicates; allowed: one of them")
        return self

    def require_source(self, name: str) -> None:
        """Raise InputError if the source `name` has no columns to assign rows by."""
        for key in ("group", "order"):
            if name != "csv" and (column := getattr(self, key)) is not None:
                raise InputError(f"prepare.{key} = {column!r}: only the source csv has such columns; allowed: null")

    @model_validator(mode="after")
    def require_training_share(self) -> "Prepare":
        """Raise ValueError if no training examples would be left."""
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test = {self.validation + self.test:g}; allowed: less than 1")
        return self


class Int8(Config):
    """The number of training `examples` for the value ranges of an int8 graph, and limits on its difference from the
    trained model."""

    examples: Count
    top1_agreement: Annotated[float, Field(gt=0, le=1)]
    accuracy_loss: Fraction


def reject_count(value: object) -> object:
    """Return `value`; raise ValueError for a number, as in earlier versions."""
    if isinstance(value, int):
        raise ValueError("the number of examples is export.int8.examples; allowed: temperature, none")
    return value


class Export(Config):
    """Tolerances of the parity check, on at most `examples`, and the `calibration` of the probabilities."""

    calibration: Annotated[Literal["temperature", "none"], BeforeValidator(reject_count)]
    examples: Count
    absolute_tolerance: Positive
    relative_tolerance: Positive
    top1_agreement: Annotated[float, Field(gt=0, le=1)]
    int8: Int8


class Evaluate(Config):
    """Metrics on the test split, and latency, measured for `latency_seconds` at each batch size."""

    device: Device
    top_k: Count
    calibration_bins: Annotated[int, Field(ge=2, le=1000)]
    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Share
    latency_batches: Annotated[Counts, Field(min_length=1), AfterValidator(each_once)]
    latency_seconds: Positive
    seed: Seed


# The metrics that candidates can be selected by, and the task that each applies to.
SELECTION_METRICS: dict[str, Task] = {
    "accuracy": "classification",
    "balanced_accuracy": "classification",
    "macro_f1": "classification",
    "log_loss": "classification",
    "r2": "regression",
    "mae": "regression",
}


def known_metric(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if candidates cannot be selected by it."""
    if name not in ("auto", *SELECTION_METRICS):
        raise ValueError(f"auto, {', '.join(SELECTION_METRICS)}")
    return name


class Promote(Config):
    """Minimum requirements for the champion, and the selection among the candidates that meet them.

    Candidates are compared by `metric` on the validation split. One is tied with the best where the p-value of their
    difference, by an exact test or `resamples` of the examples, is above `significance`. Latencies of tied candidates
    are measured again for `latency_seconds` in all. The selected one replaces the current champion only if it is
    better by `minimum_gain` and significantly, unless `replace` is `always`. Graphs that were rolled back are rejected
    but for those whose SHA-256 is in `allow_rolled_back`.
    """

    model_name: Annotated[Text, AfterValidator(registrable)]
    metric: Annotated[str, AfterValidator(known_metric)]
    significance: Share
    resamples: Annotated[int, Field(ge=100)]
    seed: Seed
    minimum_accuracy: Annotated[float, Field(ge=0, le=1)]
    minimum_r2: Annotated[float, Field(le=1, allow_inf_nan=False)]
    maximum_latency_ms: Positive | None
    latency_seconds: Positive
    replace: Literal["better", "always"]
    minimum_gain: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    allow_rolled_back: Annotated[tuple[Sha256, ...], Field(strict=False)]

    def metric_for(self, task: Task) -> str:
        """The selection metric of a task; `auto` is accuracy, or R2 of a regression."""
        automatic = "accuracy" if task == "classification" else "r2"
        return automatic if self.metric == "auto" else self.metric

    def require_task(self, name: str, task: Task) -> None:
        """Raise InputError if the selection metric does not apply to the task of the source `name`."""
        if self.metric != "auto" and SELECTION_METRICS[self.metric] != task:
            allowed = ", ".join(metric for metric, kind in SELECTION_METRICS.items() if kind == task)
            raise InputError(
                f"promote.metric = '{self.metric}' does not apply to '{name}', a {task}; allowed: auto, {allowed}"
            )


class Drift(Config):
    """Thresholds of the drift test between the prediction log and the training data.

    `significance` is the maximum p-value after the `correction` for multiple tests, `distance` the minimum distance
    between the two distributions (0 to 1), `rows` the maximum number of examples of each that are compared.
    """

    significance: Share
    distance: Fraction
    correction: Correction
    minimum_rows: Annotated[int, Field(ge=20)]
    rows: Annotated[int, Field(ge=20)]

    @model_validator(mode="after")
    def require_consistent_rows(self) -> "Drift":
        """Raise ValueError if more rows are required than are read."""
        if self.minimum_rows > self.rows:
            raise ValueError(f"minimum_rows = {self.minimum_rows}; allowed: at most rows = {self.rows}")
        return self


class Tracking(Config):
    """The MLflow experiment of the runs; `histograms` enables TensorBoard histograms of each layer."""

    experiment: Text
    histograms: bool


def ray_address(address: str) -> str:
    """Return `address`; raise ValueError if it is not that of a Ray cluster."""
    if not re.fullmatch(r"(ray://)?[\w.-]+:\d+", address):
        raise ValueError("null, HOST:PORT of a cluster that this machine is a node of, or ray://HOST:PORT")
    return address


class Run(Config):
    """Where training processes and trials run: on this machine, or placed by Ray.

    `address` is that of a Ray cluster; null is a local Ray, which is started and ended. The numbers are the same.
    """

    engine: Literal["local", "ray"]
    address: Annotated[str, AfterValidator(ray_address)] | None

    @model_validator(mode="after")
    def require_ray(self) -> "Run":
        """Raise ValueError if a cluster is named that is not used."""
        if self.engine == "local" and self.address is not None:
            raise ValueError(f"engine = 'local' with address = '{self.address}'; allowed: null")
        return self


class Params(Config):
    """The content of `params.yaml`: one section per stage and architecture."""

    data: DataSource
    prepare: Prepare
    frameworks: Annotated[tuple[Framework, ...], Field(strict=False, min_length=1), AfterValidator(each_once)]
    architectures: Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1), AfterValidator(each_once)]
    models: Models
    train: Train
    export: Export
    evaluate: Evaluate
    promote: Promote
    drift: Drift
    sweep: Sweep
    run: Run
    tracking: Tracking

    @property
    def pairs(self) -> tuple[tuple[Framework, str], ...]:
        """Framework and architecture of all models to train."""
        return tuple(product(self.frameworks, self.architectures))

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of all models to train, such as `torch-cnn`."""
        return tuple(f"{framework}-{architecture}" for framework, architecture in self.pairs)

    def for_candidate(self, framework: Framework, architecture: str) -> "Params":
        """The same with the training parameters of one candidate."""
        return self.model_copy(update={"train": self.train.for_candidate(framework, architecture)})


def read(path: Path = FILE) -> Params:
    """Read and validate the whole file. Raises InputError as `yaml_model.read`."""
    return yaml_model.read(path, Params, REPLACED)
