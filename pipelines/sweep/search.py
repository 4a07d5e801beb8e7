"""The search of a sweep: its study, its processes, its MLflow run and its results."""

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from optuna import Study
from optuna.study import StudyDirection

from models.errors import InputError
from models.metrics.quality import METRICS
from models.spec import DataSpec
from pipelines.artifacts import paths, validation_report
from pipelines.artifacts.atomic import staged
from pipelines.config import overrides
from pipelines.config.params import Params
from pipelines.config.sweep import SearchSpace
from pipelines.execution.candidate import Candidate
from pipelines.execution.counts import counted
from pipelines.sweep import plots, processes, results, space, studies
from pipelines.sweep.processes import Processes
from pipelines.sweep.progress import Display
from pipelines.sweep.results import Result
from pipelines.sweep.worker import Task
from pipelines.tracking import abandoned, provenance, store
from pipelines.tracking.run import Run
from pipelines.tracking.runs import Tracker

POLL_SECONDS = 0.25
FILES = (results.TRIALS, plots.HISTORY, plots.IMPORTANCE, plots.COORDINATES, results.BEST)
# Attributes of a study, for each machine: its MLflow run, and the number of finished trials in its results.
RUN_ID, REPORTED = (f"{name} of {platform.node()}" for name in ("run", "reported"))


@dataclass(frozen=True)
class Search:
    """The search for one candidate: `sections` is what its trials depend on."""

    chosen: Candidate
    settings: Params
    metric: str
    sections: Mapping[str, Any]

    @property
    def study_name(self) -> str:
        """The candidate, and a hash: with other parameters or other data another study begins."""
        return f"{self.chosen.name} {self._hash}"

    @property
    def folder(self) -> Path:
        """The journal, and the results of the latest study."""
        return paths.sweep(self.chosen.name)

    @property
    def outputs(self) -> Path:
        """The outputs of the best models of the study."""
        return self.folder / self._hash

    @property
    def title(self) -> str:
        """The start of its lines, and of the name of its run."""
        return f"{self.chosen.name} sweep"

    @property
    def space(self) -> Mapping[str, SearchSpace]:
        """The search space, by dotted name."""
        return self.settings.sweep.space(self.chosen.architecture)

    @property
    def current_parameters(self) -> dict[str, Any]:
        """The values of `params.yaml`, by dotted name."""
        return {name: overrides.value_of(self.settings, name) for name in self.space}

    def result(self, study: Study) -> Result:
        """The result so far. Raises InputError if no trial was trained to the end."""
        promote, current = self.settings.promote, self.current_parameters
        return results.compare(self.chosen.name, study, self.metric, promote, current, self.outputs)

    @property
    def _hash(self) -> str:
        return hashlib.sha256(json.dumps(self.sections, sort_keys=True).encode()).hexdigest()[:8]


def run(chosen: Candidate, settings: Params) -> Result:
    """Search until enough trials are finished, or continue an interrupted search; write the results.

    Raises InputError if another sweep of the candidate is in progress, a store cannot be reached, or no process is
    left.
    """
    metric = settings.promote.metric_for(DataSpec.read(paths.SPEC).task)
    search = Search(chosen, settings, metric, _sections(chosen, settings))
    with studies.only_sweep(search.folder), studies.errors_named(settings.sweep):
        study = _open_study(search)
        finished = len(studies.finished(study))
        if finished < settings.sweep.trials or study.user_attrs.get(REPORTED) != finished:
            return _search(search, study)
        return _write_results(search, study)  # the files may be those of another study


def _sections(chosen: Candidate, settings: Params) -> dict[str, Any]:
    content = settings.model_dump(mode="json")
    names = ("seed", "warmup", "maximum_parameters", "maximum_latency_ms")
    evaluate, limited = settings.evaluate, settings.sweep.maximum_latency_ms is not None
    latency = {"device": evaluate.device, "batch": min(evaluate.latency_batches)}
    return {
        "data_sha256": validation_report.read()["data_sha256"],
        "prepare": content["prepare"],
        "train": content["train"],
        chosen.architecture: content["models"][chosen.architecture],
        "metric": settings.promote.metric,
        "sweep": {name: content["sweep"][name] for name in names},
        "space": {name: content["sweep"]["parameters"][name] for name in settings.sweep.space(chosen.architecture)},
        **({"latency": latency} if limited else {}),
    }


def _open_study(search: Search) -> Study:
    """The study, with the current parameters as its first trial, and without trials of killed processes."""
    config = search.settings.sweep
    if config.storage is None:
        studies.unlock(search.folder)
    storage = studies.open_storage(config, search.folder)
    _report_other_studies(search, optuna.get_all_study_names(storage))
    higher_is_better = METRICS[search.metric].higher_is_better
    direction = StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE
    study = optuna.create_study(storage=storage, study_name=search.study_name, direction=direction, load_if_exists=True)
    if config.storage is None:
        _report_failed(search, studies.fail(study, lambda _: True))
    known = study.get_trials(deepcopy=False, states=(*studies.FINISHED, *studies.OPEN))
    if not any(trial.user_attrs.get(studies.CURRENT) for trial in known):
        encoded = space.encode(search.space, search.current_parameters)
        study.enqueue_trial(encoded, user_attrs={studies.CURRENT: True})
    return study


def _report_other_studies(search: Search, names: Sequence[str]) -> None:
    """Print a line if a new study begins beside others of the candidate."""
    others = [name for name in names if name.startswith(f"{search.chosen.name} ")]
    if others and search.study_name not in others:
        count = counted(len(others), "earlier one")
        print(f"{search.title}: a new study begins, with other parameters or data than {count}", flush=True)


def _report_failed(search: Search, trials: Mapping[int, bool]) -> None:
    for number, is_restarted in trials.items():
        fate = "restarted" if is_restarted else f"abandoned after {studies.MAX_RETRIES + 1} attempts"
        print(f"{search.title}: trial {number} of a killed process is {fate}", flush=True)


def _search(search: Search, study: Study) -> Result:
    """Train trials within one MLflow run, and add the results to it."""
    tags = {**search.chosen.tags, **provenance.tags(), "data_sha256": search.sections["data_sha256"]}
    experiment = search.settings.tracking.experiment
    with Tracker(experiment).start(search.title, tags, study.user_attrs.get(RUN_ID, "")) as run:
        study.set_user_attr(RUN_ID, run.id)
        run.log_params({name: value for name, value in search.sections.items() if isinstance(value, dict)})
        _train_trials(search, study, run)
        result = _write_results(search, study)
        _log_results(search, result, run)
    study.set_user_attr(REPORTED, len(studies.finished(study)))
    return result


def _train_trials(search: Search, study: Study, run: Run) -> None:
    """Start the processes, and wait until enough trials are finished."""
    trials, before = search.settings.sweep.trials, len(studies.finished(study))
    if before >= trials:
        return
    print(f"{search.title}: study '{study.study_name}', {before} of {trials} trials finished", flush=True)
    display = Display(search.chosen.name, search.metric, trials, before, METRICS[search.metric].higher_is_better)
    with closing(display), _recovering(search, study, _tasks(search, run)) as started:
        known: set[str] = set()
        while True:
            alive = started.alive()  # before the trials are counted: the last process may be finishing the last one
            display.update(finished := studies.finished(study))
            if len(finished) >= trials:
                return
            _recover(search, study, started, known)
            if not alive:
                raise InputError(f"{search.title}: no process is left; start it again to continue")
            time.sleep(POLL_SECONDS)


def _tasks(search: Search, run: Run) -> list[Task]:
    """A task for each process."""
    session = f"{platform.node()} {uuid4().hex[:8]}"
    return [
        Task(
            framework=search.chosen.framework,
            architecture=search.chosen.architecture,
            settings=search.settings.model_dump(mode="json"),
            study=search.study_name,
            folder=str(search.folder),
            outputs=str(search.outputs),
            process=f"{session} {index}",
            index=index,
            experiment_id=run.experiment_id,
            parent_id=run.id,
        )
        for index in range(search.settings.sweep.workers)
    ]


@contextmanager
def _recovering(search: Search, study: Study, tasks: list[Task]) -> Iterator[Processes]:
    """The processes; if they are interrupted, their trials are restarted the next time. Runs of killed ones end."""
    has_killed = True
    try:
        with processes.started(tasks, search.settings) as started:
            yield started
            has_killed = bool(started.failed())
    except BaseException:
        if search.settings.sweep.storage is None:
            _fail_all(search, study)
        else:
            studies.fail(study, partial(studies.is_of, {task.process for task in tasks}))
        raise
    finally:
        if has_killed:
            with suppress(InputError):  # otherwise the next command delivers them
                store.connect()
                abandoned.deliver()


def _fail_all(search: Search, study: Study) -> Mapping[int, bool]:
    """Fail the running trials of a study that no other sweep uses, whose processes have ended."""
    studies.unlock(search.folder)
    return studies.fail(study, lambda _: True)


def _recover(search: Search, study: Study, started: Processes, known: set[str]) -> None:
    """Enqueue the trials of processes that have failed; `known` are those that were reported."""
    for name in sorted(started.failed() - known):
        known.add(name)
        print(f"{search.title}: a process has failed: {started.reason(name)}", flush=True)
    if known:
        _report_failed(search, studies.fail(study, partial(studies.is_of, known)))
    studies.fail_stale(study)


def _write_results(search: Search, study: Study) -> Result:
    """Write the table, the plots and the best parameters. Raises InputError if no trial was trained to the end."""
    result = search.result(study)
    with staged(search.folder, FILES) as beside:
        results.write_trials(study, list(search.space), beside / results.TRIALS)
        plots.draw(study, search.space, search.metric, beside)
        result.write(beside / results.BEST)
    return result


def _log_results(search: Search, result: Result, run: Run) -> None:
    """Add the files and the best metric to the run."""
    for name in FILES:
        run.log_artifact(search.folder / name, "sweep")
    run.log_metrics({search.metric: result.value, "finished": result.finished, "pruned": result.pruned})
