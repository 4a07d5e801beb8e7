"""A process of a sweep: it imports its framework once, and trains one trial after another.

`python -m pipelines.sweep.worker` reads its task from standard input, and ends as soon as that is closed: when the
sweep has ended, however it ended.
"""

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna import Study, Trial, TrialPruned
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler

from models.config import Framework
from pipelines.config.params import Params
from pipelines.config.sweep import Sweep
from pipelines.execution import stage
from pipelines.execution.candidate import Candidate
from pipelines.sweep import studies
from pipelines.sweep.objective import Objective
from pipelines.tracking.runs import Tracker

IDLE_SECONDS = 0.5  # between looks for a trial while other processes train the last ones


class SurplusError(Exception):
    """Enough other trials are in progress."""


@dataclass(frozen=True)
class Task:
    """What a process needs, JSON-ready: an engine on other machines would pass it to `run` as well.

    `process` is unique, `index` its number within the sweep. `folder` has the files of the sweep, `outputs` those of
    its study. The runs of the trials are below the run `parent_id`.
    """

    framework: Framework
    architecture: str
    settings: Mapping[str, Any]
    study: str
    folder: str
    outputs: str
    process: str
    index: int
    experiment_id: str
    parent_id: str

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def main() -> None:
    """Run the task on standard input."""
    task = Task(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    with FileLock(Path(task.folder) / studies.WORKER_LOCK.format(task.index)):
        run(task)


def run(task: Task) -> None:
    """Open the study and the data, and train trials until enough are finished."""
    settings = Params.model_validate(task.settings)
    tracker = Tracker(settings.tracking.experiment)  # before the framework is imported
    storage = studies.open_storage(settings.sweep, Path(task.folder))
    study = optuna.load_study(study_name=task.study, storage=storage, pruner=MedianPruner())
    start_run = partial(tracker.start_child, task.parent_id, task.experiment_id)
    with closing(tracker):
        chosen = Candidate(task.framework, task.architecture)
        objective = Objective(chosen, settings, start_run, Path(task.outputs))
        gc.freeze()  # the objects of the imported modules, which the collection after each trial would examine
        optimize(study, objective, settings.sweep, task.process, task.index)


def optimize(study: Study, objective: Callable[[Trial], float], config: Sweep, process: str, index: int) -> None:
    """Run trials until enough are finished; wait for those of other processes, which may fail."""

    def evaluate(trial: Trial) -> float:
        trial.set_user_attr(studies.PROCESS, process)
        if studies.is_surplus(study, trial.number, config.trials):
            trial.set_user_attr(studies.REASON, "enough other trials are finished or in progress")
            raise SurplusError
        try:
            return objective(trial)
        except TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr(studies.REASON, studies.described(error))
            raise

    while len(studies.finished(study)) < config.trials:
        if studies.has_free_trial(study, config.trials):
            study.sampler = _sampler(study, config.seed, index)
            # Models are in reference cycles, which would keep them in memory.
            study.optimize(evaluate, n_trials=1, catch=(SurplusError,), gc_after_trial=True)
        else:
            time.sleep(IDLE_SECONDS)


def _sampler(study: Study, seed: int, worker: int) -> TPESampler:
    """Seeded by the number of trials so far.

    A sweep that is interrupted continues with the same values; values whose training has failed are not drawn again.
    """
    return TPESampler(seed=int(np.random.SeedSequence([seed, studies.begun(study), worker]).generate_state(1)[0]))


def _end_with_sweep() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    stage.run(main)
