"""The result of a sweep: a table of its trials, and its best parameters compared with the current ones."""

import csv
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from models.errors import InputError
from models.metrics import paired_test
from models.metrics.quality import METRICS, formatted
from pipelines.artifacts import json_object, paths, split_files
from pipelines.config.params import Promote
from pipelines.execution.counts import counted
from pipelines.sweep import studies
from pipelines.sweep.objective import outputs_file

TRIALS, BEST = "trials.csv", "best.json"
COLUMNS = ("trial", "state", "value", "epochs", "seconds", "training_seconds", "parameters")
KILLED = "its process was killed"


@dataclass(frozen=True)
class Result:
    """The best trial of a sweep against the one with the current parameters, by a metric of the validation split.

    `p_value` is None where the outputs of one of them are on another machine. The current parameters have neither a
    trial nor a value if they were not trained to the end, for the reason `current_failure`.
    """

    candidate: str
    study: str
    finished: int
    pruned: int
    metric: str
    trial: int
    value: float
    current_trial: int | None
    current_value: float | None
    current_failure: str
    p_value: float | None
    examples: int
    parameters: Mapping[str, Any]
    current_parameters: Mapping[str, Any]

    @property
    def is_current(self) -> bool:
        """True if no trial is better than the current parameters."""
        return self.trial == self.current_trial

    @property
    def command(self) -> str:
        """The DVC experiment with the best parameters."""
        changes = (f"{name}={_as_override(value)}" for name, value in self.parameters.items())
        return "dvc exp run " + " ".join(f"-S {shlex.quote(change)}" for change in changes)

    def lines(self) -> list[str]:
        """The result for the terminal."""
        name = self.metric.replace("_", " ")
        first = f"{self.candidate} sweep: {counted(self.finished, 'trial')} finished, {self.pruned} of them pruned"
        current = self._current(name)
        if self.is_current:
            return [first, f"{current}; no trial is better"]
        best = f"best: validation {name} {formatted(self.value)} in trial {self.trial}; {current}"
        if self.current_trial is not None:
            best += f", {self._significance()}"
        changed = [
            f"  {key} = {json.dumps(value)}, currently {json.dumps(self.current_parameters[key])}"
            for key, value in self.parameters.items()
        ]
        return [first, best, *changed, self.command]

    def _current(self, name: str) -> str:
        if self.current_value is None:
            return f"the current parameters were not trained to the end: {self.current_failure}"
        place = f"with the current parameters (trial {self.current_trial})"
        return f"validation {name} {formatted(self.current_value)} {place}"

    def _significance(self) -> str:
        if self.p_value is None:
            return "not tested: the outputs are on another machine"
        test = "exact McNemar test" if self.metric == "accuracy" else "paired bootstrap"
        return f"p = {self.p_value:.2g} ({test}, {self.examples} examples)"

    def write(self, path: Path) -> None:
        """Write all values and the command as JSON."""
        json_object.write({**asdict(self), "command": self.command}, path)


def compare(
    candidate: str, study: Study, metric: str, promote: Promote, current_parameters: Mapping[str, Any], folder: Path
) -> Result:
    """The result of a sweep. Raises InputError if no trial was trained to the end."""
    trials, complete = studies.finished(study), studies.complete(study)
    if not complete:
        reasons = "; ".join(sorted({str(trial.user_attrs.get(studies.REASON)) for trial in trials}))
        raise InputError(f"{candidate} sweep: all trials were pruned ({len(trials)}): {reasons[:500]}")
    best = study.best_trial
    current = next((trial for trial in complete if trial.user_attrs.get(studies.CURRENT)), None)
    targets = np.asarray(split_files.read(paths.split("validation"))[1])
    return Result(
        candidate,
        study.study_name,
        len(trials),
        len(trials) - len(complete),
        metric,
        best.number,
        studies.value(best),
        current.number if current else None,
        studies.value(current) if current else None,
        "" if current else _failure(study.get_trials(deepcopy=False)),
        _p_value(metric, best.number, current.number, targets, promote, folder) if current else None,
        len(targets),
        best.user_attrs[studies.VALUES],
        current_parameters,
    )


def _failure(trials: Sequence[FrozenTrial]) -> str:
    """The reason why the trial with the current parameters has no result."""
    attempts = (trial.user_attrs for trial in trials if trial.user_attrs.get(studies.CURRENT))
    reasons = [str(attributes[studies.REASON]) for attributes in attempts if studies.REASON in attributes]
    return reasons[-1] if reasons else "its process has ended each time"


def _p_value(metric: str, best: int, current: int, targets: np.ndarray, promote: Promote, folder: Path) -> float | None:
    files = [outputs_file(folder, number) for number in (best, current)]
    if not all(file.exists() for file in files):
        return None
    better, worse = (METRICS[metric].terms(np.load(file), targets) for file in files)
    return paired_test.p_value(METRICS[metric], better, worse, promote.resamples, promote.seed)


def write_trials(study: Study, names: Sequence[str], path: Path) -> None:
    """A line for each trial.

    A failed one has no result, for its reason: an error, a killed process, or that enough others were in progress.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *names, "retry_of", "reason"])
        writer.writeheader()
        writer.writerows(_row(trial, names) for trial in study.get_trials(deepcopy=False))


def _row(trial: FrozenTrial, names: Sequence[str]) -> dict[str, Any]:
    values, attributes = trial.user_attrs.get(studies.VALUES, {}), trial.user_attrs
    reason = KILLED if trial.state is TrialState.FAIL else None
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value if trial.state is TrialState.COMPLETE else None,
        "epochs": len(trial.intermediate_values),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        "training_seconds": attributes.get("training_seconds"),
        "parameters": attributes.get("parameters"),
        **{name: json.dumps(values[name]) for name in names if name in values},
        "retry_of": studies.retry_of(trial),
        "reason": attributes.get(studies.REASON, reason),
    }


def _as_override(value: object) -> str:
    """A value in the syntax of `dvc exp run -S`."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
