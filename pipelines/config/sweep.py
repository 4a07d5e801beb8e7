"""The section `sweep` of `params.yaml`: the search space of `python -m pipelines.sweep`, and how it is searched."""

import math
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, model_validator

from models.config import Config, Count, Fraction, Positive, Seed

SECTIONS = ("train", "models")  # whose parameters can be searched
DRIVER = "postgresql+psycopg"


def finite_number(value: object) -> object:
    """Return `value`; raise ValueError if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def at_least_two(values: object) -> object:
    """Return a list as a tuple; raise ValueError if it has fewer than two different values, or one twice."""
    if not isinstance(values, list | tuple) or len(values) < 2 or any(values.count(value) > 1 for value in values):
        raise ValueError("a list of at least two values, each once")
    return tuple(values)


def not_empty(parameters: dict[str, "SearchSpace"]) -> dict[str, "SearchSpace"]:
    """Return `parameters`; raise ValueError if there are none."""
    if not parameters:
        raise ValueError("at least one parameter by its dotted name")
    return parameters


def postgresql(url: str) -> str:
    """The URL with the name of the driver; raise ValueError for another kind of database, or with a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", DRIVER) or not parts.path.strip("/"):
        raise ValueError("null, or postgresql://USER@HOST:PORT/DATABASE")
    if parts.password is not None:
        raise ValueError("a URL without a password, which PGPASSWORD or a file .pgpass holds")
    return parts._replace(scheme=DRIVER).geturl()


Number = Annotated[int | float, BeforeValidator(finite_number)]


class SearchSpace(Config):
    """The values of one parameter: from `low` to `high`, both included, evenly or in a `log` scale; or `choices`.

    Between whole numbers are whole numbers only.
    """

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: Annotated[tuple[Any, ...], BeforeValidator(at_least_two)] | None = None

    @model_validator(mode="after")
    def require_one_kind(self) -> "SearchSpace":
        """Raise ValueError if it is not either a range or a list of choices, or if the range is impossible."""
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices with low, high or log; allowed: one of both")
            return self
        if self.low is None or self.high is None:
            raise ValueError("allowed: low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} and high = {self.high}; allowed: low below high")
        if self.log and self.low <= 0:
            raise ValueError(f"log = true with low = {self.low}; allowed: low above 0")
        return self

    @property
    def is_whole(self) -> bool:
        """True for a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that are valid only if all others are: both ends of a range, or all choices."""
        return (self.low, self.high) if self.choices is None else self.choices

    def contains(self, value: object) -> bool:
        """True if the space has the value."""
        if self.choices is not None:
            return value in self.choices
        if self.low is None or self.high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.is_whole or value == int(value))


class Sweep(Config):
    """A search of the values of `parameters`, which are dotted names, for the best model of one candidate.

    It ends with `trials` finished ones. A trial is not pruned in the first epochs, the share `warmup` of all. A trial
    whose model has more trainable parameters than `maximum_parameters`, or whose graph takes more than
    `maximum_latency_ms` (p99, at the smallest batch size of `evaluate`), is not trained. Several machines share a
    `storage`, where the processes of a trial report every `heartbeat` seconds.
    """

    trials: Count
    workers: Count
    storage: Annotated[str, AfterValidator(postgresql)] | None
    heartbeat: Count
    seed: Seed
    warmup: Fraction
    maximum_parameters: Count | None
    maximum_latency_ms: Positive | None
    parameters: Annotated[dict[str, SearchSpace], AfterValidator(not_empty)]

    def space(self, architecture: str) -> Mapping[str, SearchSpace]:
        """The search space of one architecture: without the parameters of the others."""
        foreign = {name for name in self.parameters if name.startswith("models.")}
        foreign -= {name for name in foreign if name.split(".")[1] == architecture}
        return {name: space for name, space in self.parameters.items() if name not in foreign}
