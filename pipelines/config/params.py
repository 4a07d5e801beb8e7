"""`params.yaml` read into frozen, typed objects; the only reader of that file."""

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from models.config import (
    Architecture,
    Config,
    Count,
    Counts,
    Device,
    Fraction,
    Framework,
    Models,
    NotNegative,
    Positive,
    Seed,
    Train,
)
from models.errors import InputError
from models.spec import Kind, Task

FILE = Path("params.yaml")
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Name = TypeVar("Name", bound=str)
Correction = Literal["bonferroni", "benjamini_hochberg", "none"]


class Outline(NamedTuple):
    """What is known of a source before it is loaded: `task` is None and `shape` is () where its data decides."""

    name: str
    kind: Kind
    task: Task | None
    shape: tuple[int, ...]


# One file in pipelines/sources for each.
SOURCES: dict[str, tuple[Kind, Task | None, tuple[int, ...]]] = {
    "digits": ("image", "classification", (8, 8, 1)),
    "fashion_mnist": ("image", "classification", (28, 28, 1)),
    "mnist": ("image", "classification", (28, 28, 1)),
    "cifar10": ("image", "classification", (32, 32, 3)),
    "image_folder": ("image", "classification", ()),
    "iris": ("tabular", "classification", ()),
    "wine": ("tabular", "classification", ()),
    "breast_cancer": ("tabular", "classification", ()),
    "diabetes": ("tabular", "regression", ()),
    "line": ("tabular", "regression", ()),
    "spirals": ("tabular", "classification", ()),
    "circles": ("tabular", "classification", ()),
    "moons": ("tabular", "classification", ()),
    "xor": ("tabular", "classification", ()),
    "csv": ("tabular", None, ()),
}


def known_source(name: str) -> str:
    """Raise ValueError, which says what is allowed, where there is no such source."""
    if name not in SOURCES:
        raise ValueError(", ".join(SOURCES))
    return name


# pydantic's words are Python's; these are a reader's of YAML
ALLOWED = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a section with keys",
    "string_too_short": "text of at least one character",
    "string_type": "text",
    "too_short": "a list of at least one",
    "tuple_type": "a list",
}


def each_once(names: tuple[Name, ...]) -> tuple[Name, ...]:
    """Refuse a list that names anything twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} more than once; allowed: each once")
    return names


class Data(Config):
    """Where the examples come from; one file in `pipelines/sources` for each source, which refuses what it
    does not use. Of pictures: `size` is [height, width], `max_pixels` the largest that is decoded, `unreadable`
    the share of files that may be left out.
    Of a table: the columns `target` and `features`, null for all others, and its `task`."""

    source: Annotated[str, AfterValidator(known_source)]
    path: Text | None
    mirrors: Annotated[tuple[Text, ...], Field(strict=False)]
    size: Annotated[tuple[Count, Count], Field(strict=False)] | None
    channels: Literal[1, 3] | None
    max_pixels: Annotated[int, Field(ge=1, le=178_956_970)] | None  # Pillow refuses larger ones itself
    unreadable: Fraction | None
    target: Text | None
    features: Annotated[tuple[Text, ...], Field(strict=False, min_length=1), AfterValidator(each_once)] | None
    task: Literal["auto", "classification", "regression"]

    @property
    def outline(self) -> Outline:
        """What is known of the examples before they are loaded."""
        kind, task, shape = SOURCES[self.source]
        if self.task != "auto":
            task = self.task
        return Outline(self.source, kind, task, shape or self.size or ())


class Prepare(Config):
    """How the examples are split, as shares of all of them."""

    validation: Share
    test: Share
    seed: Seed

    @model_validator(mode="after")
    def leave_something_to_train_on(self) -> "Prepare":
        """Refuse splits that leave no training examples."""
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test = {self.validation + self.test:g}; allowed: less than 1")
        return self


class Int8(Config):
    """How much an int8 graph may differ from the trained model and still be served."""

    top1_agreement: Annotated[float, Field(gt=0, le=1)]
    accuracy_loss: Fraction


class Export(Config):
    """How equal an exported file must be to the trained model, and how its int8 copy is made."""

    examples: Count
    absolute_tolerance: Positive
    relative_tolerance: Positive
    top1_agreement: Annotated[float, Field(gt=0, le=1)]
    calibration: Count
    int8: Int8


class Evaluate(Config):
    """What is measured on the test split. `latency_seconds` is the time spent on each batch size."""

    device: Device
    top_k: Count
    calibration_bins: Annotated[int, Field(ge=2)]
    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Share
    latency_batches: Annotated[Counts, Field(min_length=1)]
    latency_seconds: Positive
    seed: Seed


class Promote(Config):
    """What a candidate must reach to be champion, and how the champion is chosen."""

    model_name: Text
    minimum_accuracy: Annotated[float, Field(ge=0, le=1)]
    minimum_r2: Annotated[float, Field(le=1, allow_inf_nan=False)]
    maximum_latency_ms: Positive | None
    tie: NotNegative


class Drift(Config):
    """When a difference between the prediction log and the training data counts as drift.

    `significance` is the largest p-value after the `correction` for many tests, `distance` the smallest
    between the two distributions (0 to 1), `rows` the most examples of each that are compared.
    """

    significance: Share
    distance: Fraction
    correction: Correction
    minimum_rows: Annotated[int, Field(ge=20)]
    rows: Annotated[int, Field(ge=20)]

    @model_validator(mode="after")
    def compare_enough(self) -> "Drift":
        """Refuse to want more rows than are read."""
        if self.minimum_rows > self.rows:
            raise ValueError(f"minimum_rows = {self.minimum_rows}; allowed: at most rows = {self.rows}")
        return self


class Tracking(Config):
    """The MLflow experiment that the runs belong to, and whether TensorBoard gets histograms of each layer."""

    experiment: Text
    histograms: bool


class Params(Config):
    """The whole of `params.yaml`, a section for each stage and each architecture."""

    data: Data
    prepare: Prepare
    frameworks: Annotated[tuple[Framework, ...], Field(strict=False, min_length=1), AfterValidator(each_once)]
    architectures: Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1), AfterValidator(each_once)]
    models: Models
    train: Train
    export: Export
    evaluate: Evaluate
    promote: Promote
    drift: Drift
    tracking: Tracking

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of all models that are trained, such as `torch-cnn`."""
        return tuple(
            f"{framework}-{architecture}" for framework in self.frameworks for architecture in self.architectures
        )


def read(path: Path = FILE) -> Params:
    """Read and check the whole file. Raises InputError, one line, naming key, value and what is allowed."""
    return parse(_load(path), str(path))


def parse(values: object, where: str) -> Params:
    """Check values that were read from `where`. Raises InputError as `read` does."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = _first_causes(error.errors(include_url=False))
        raise InputError(f"{where}: {'; '.join(map(_describe, problems))}") from error


def _load(path: Path) -> object:
    """YAML 1.2, as DVC reads it: 1e-3 is a number."""
    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; run from the root of the repository") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {_syntax(error)}") from error


def _syntax(error: Exception) -> str:
    """Line, column and problem; without ruamel's advice on how to switch its check off."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(str(error.problem).split())}"
    return " ".join(str(error).split())


def _first_causes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the complaint about a list whose only item was refused already."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if not any(place != problem["loc"] and place[: len(problem["loc"])] == problem["loc"] for place in places)
    ]


def _describe(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        return f"{key}: unknown key; {_allowed_keys(problem['loc'])}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    said = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed = ALLOWED.get(problem["type"], said)
    return f"{key}: {allowed}" if "allowed:" in allowed else f"{key} = {_as_yaml(problem['input'])}; allowed: {allowed}"


def _as_yaml(value: object) -> str:
    """As a person would write it in the file: null, true, .nan."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}.get(text, text)


def _allowed_keys(location: tuple[Any, ...]) -> str:
    """The keys of the section that the unknown key stands in, the closest first in mind."""
    section: Any = Params
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
