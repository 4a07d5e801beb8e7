"""Values of a trial: suggested by the sampler within the declared search space, or the current ones."""

import json
from collections.abc import Mapping
from typing import Any

from optuna import Trial

from pipelines.config.sweep import SearchSpace

DIGITS = 4  # significant digits of suggested numbers: the trained value is the one that is written down


def suggest(trial: Trial, space: Mapping[str, SearchSpace]) -> dict[str, Any]:
    """A value of each parameter by its dotted name, JSON-ready."""
    return {name: _suggest(trial, name, one) for name, one in space.items()}


def register(trial: Trial, space: Mapping[str, SearchSpace], current: Mapping[str, Any]) -> dict[str, Any]:
    """The current values, of which the sampler learns those within the search space."""
    suggest(trial, {name: one for name, one in space.items() if one.contains(current[name])})
    return dict(current)


def encode(space: Mapping[str, SearchSpace], current: Mapping[str, Any]) -> dict[str, Any]:
    """The current values within the search space, as the study stores them."""
    values = {name: (one, current[name]) for name, one in space.items() if one.contains(current[name])}
    return {
        name: value if one.choices is None else _names(one)[one.choices.index(value)]
        for name, (one, value) in values.items()
    }


def _suggest(trial: Trial, name: str, space: SearchSpace) -> Any:
    if space.choices is not None:
        return json.loads(trial.suggest_categorical(name, _names(space)))
    low, high = space.low or 0, space.high or 0
    if space.is_whole:
        return trial.suggest_int(name, int(low), int(high), log=space.log)
    value = trial.suggest_float(name, low, high, log=space.log)
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def _names(space: SearchSpace) -> list[str]:
    """Each choice as text: a study stores no lists."""
    return [json.dumps(choice) for choice in space.choices or ()]
