"""The command as a whole, with real processes: killed, continued, and what it leaves."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import psutil
import pytest
import sqlalchemy
from optuna.trial import TrialState
from PIL import Image

from models.errors import InputError
from models.metrics.quality import METRICS
from pipelines.artifacts import paths
from pipelines.config import overrides, params
from pipelines.execution.candidate import Candidate
from pipelines.sweep import plots, processes, results, search, studies
from pipelines.sweep.__main__ import main
from pipelines.tracking.client import mlflow
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main, write_params

TRIALS = 6
QUICK = {
    "sweep.trials": TRIALS,
    "sweep.workers": 2,
    "sweep.parameters": {
        "train.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "train.batch_size": {"low": 64, "high": 128},
        "models.mlp.hidden": {"choices": [[8], [16, 8]]},
    },
    "models.mlp.hidden": [16, 8],
    "train.learning_rate": 0.001,  # too low: other trials are better
    "train.epochs": 20,
    "train.minimum_steps": 0,
    "train.device": "cpu",
}
# A process of a sweep, the first of which kills itself after the first epoch of a trial.
ONE_IS_KILLED = """
import os, signal
from pathlib import Path
from optuna import Trial
from pipelines.execution import stage
from pipelines.sweep import worker

def report(trial, *arguments, original=Trial.report):
    try:
        Path("killed").touch(exist_ok=False)
    except FileExistsError:
        return original(trial, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

Trial.report = report
stage.run(worker.main)
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Prepared data without its test split, in the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        synthetic.enter(tmp_path_factory.mktemp("sweep"), patch, QUICK)
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        for file in paths.split("test").iterdir():
            file.unlink()
        paths.CHAMPION.mkdir()
        (paths.CHAMPION / "champion.json").write_text("{}", "utf-8")
        yield Path.cwd()


def sweep(framework="torch", *arguments):
    """The command in this process; its trials are trained in others."""
    return run_main(main, "--framework", framework, "--architecture", "mlp", *arguments)


def open_study(framework="torch"):
    folder = paths.sweep(f"{framework}-mlp")
    storage = studies.open_storage(params.read().sweep, folder)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def start():
    """The command in a process of its own."""
    command = [sys.executable, "-m", "pipelines.sweep", "--framework", "torch", "--architecture", "mlp"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_within_a_trial(process, signal_number, minimum=1):
    """End the command once a trial is in training, and `minimum` are finished, that of the current parameters too."""
    while process.poll() is None:
        if are_finished(minimum):
            with suspended(psutil.Process(process.pid)):
                if trials_in_training("torch"):
                    process.send_signal(signal_number)
                    break
        time.sleep(0.02)
    assert process.returncode is None, process.communicate()
    return process.communicate(timeout=600)[0]


def are_finished(minimum):
    try:
        finished = studies.finished(open_study())
    except (ValueError, OSError):  # no journal yet, or no study in it
        return False
    return len(finished) >= minimum and any(studies.CURRENT in trial.user_attrs for trial in finished)


@contextmanager
def suspended(parent):
    """Suspend a process and those that it has started, so that no trial ends before the signal that follows."""
    family = [parent]
    with suppress(psutil.NoSuchProcess):
        family += parent.children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.fixture(scope="module")
def done(workspace):
    """The output of a sweep that was interrupted, killed, and then ended although one of its processes was killed."""
    interrupted = start()
    end_within_a_trial(interrupted, signal.SIGINT)
    assert interrupted.returncode == 130
    study = open_study()
    assert not study.get_trials(states=(TrialState.RUNNING,))
    assert studies.finished(study) or study.get_trials(states=(TrialState.WAITING,))
    end_within_a_trial(start(), signal.SIGKILL, 2)
    with (paths.sweep("torch-mlp") / studies.JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "COMMAND", ["-c", ONE_IS_KILLED])
        ended = sweep()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_killed_sweep_ends_with_exactly_as_many_trials(done):
    study = open_study()
    assert len(studies.finished(study)) == TRIALS
    assert not study.get_trials(states=studies.OPEN)
    failed = study.get_trials(states=(TrialState.FAIL,))
    again = {studies.retry_of(trial): trial for trial in studies.finished(study)}
    assert failed
    for trial in failed:
        if trial.params and studies.retry_of(trial) is None:
            if trial.number in again:
                # A process may have been killed between the values of a trial.
                assert trial.params.items() <= again[trial.number].params.items()
            else:  # its process was killed each time
                assert [studies.retry_of(other) for other in failed].count(trial.number) == studies.MAX_RETRIES
    assert "of a killed process is restarted" in done
    assert f"torch-mlp sweep: {TRIALS} of {TRIALS} trials, " in done
    assert "00:00 left" in done


def test_the_current_parameters_are_one_trial(done):
    (current,) = [trial for trial in studies.finished(open_study()) if trial.user_attrs.get(studies.CURRENT)]
    settings = params.read()
    names = settings.sweep.space("mlp")
    assert current.user_attrs[studies.VALUES] == {name: overrides.value_of(settings, name) for name in names}


def test_the_table_lists_every_trial(done):
    study = open_study()
    with (paths.sweep("torch-mlp") / results.TRIALS).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in study.trials]
    for row, trial in zip(rows, study.trials, strict=True):
        assert row["state"] == trial.state.name.lower()
        if trial.state is TrialState.COMPLETE:
            assert float(row["value"]) == trial.value
            assert float(row["seconds"]) >= float(row["training_seconds"]) > 0
            assert json.loads(row["train.learning_rate"]) == trial.user_attrs[studies.VALUES]["train.learning_rate"]
        if trial.state is TrialState.PRUNED:
            assert "worse than the median" in row["reason"]


def test_the_best_parameters_are_those_of_the_best_trial_with_a_paired_test(done):
    best, study = json.loads((paths.sweep("torch-mlp") / results.BEST).read_text("utf-8")), open_study()
    complete = studies.complete(study)
    assert best["value"] == max(trial.value for trial in complete)
    assert best["parameters"] == study.trials[best["trial"]].user_attrs[studies.VALUES]
    assert (best["finished"], best["pruned"]) == (TRIALS, TRIALS - len(complete))
    assert 0 <= best["p_value"] <= 1
    targets = synthetic.digits()["validation"][1]
    for name in ("trial", "current_trial"):
        (file,) = paths.sweep("torch-mlp").glob(f"*/outputs-{best[name]}.npy")
        assert METRICS["accuracy"](np.load(file), targets) == study.trials[best[name]].value


def test_the_plots_are_images(done):
    for name in (plots.HISTORY, plots.IMPORTANCE, plots.COORDINATES):
        with Image.open(paths.sweep("torch-mlp") / name) as image:
            assert min(image.size) > 200


def test_each_trial_is_a_run_below_the_one_of_the_sweep(done):
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    client, study = mlflow.MlflowClient(), open_study()
    parent = client.get_run(study.user_attrs[search.RUN_ID])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["accuracy"] == study.best_value
    files = {Path(file.path).name for file in client.list_artifacts(parent.info.run_id, "sweep")}
    assert files == {results.TRIALS, results.BEST, plots.HISTORY, plots.IMPORTANCE, plots.COORDINATES}
    condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    children = client.search_runs([parent.info.experiment_id], condition)
    assert {run.info.status for run in children if run.info.status != "KILLED"} == {"FINISHED"}
    finished = {int(run.data.tags["trial"]): run for run in children if run.info.status == "FINISHED"}
    assert {number: run.data.tags["trial_state"] for number, run in finished.items()} == {
        trial.number: trial.state.name.lower() for trial in studies.finished(study)
    }
    everything = client.search_runs([parent.info.experiment_id])
    assert len(everything) == 1 + len(children)


def test_the_champion_is_left_alone(done):
    assert (paths.CHAMPION / "champion.json").read_text("utf-8") == "{}"
    assert len(list(paths.CHAMPION.iterdir())) == 1
    assert list(mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").search_registered_models()) == []


def test_a_finished_sweep_trains_nothing_more_and_applies_its_best_parameters(done):
    before = len(open_study().trials)
    best = json.loads((paths.sweep("torch-mlp") / results.BEST).read_text("utf-8"))
    assert best["value"] > best["current_value"]
    for name in (results.TRIALS, results.BEST):  # as if another study had written them
        (paths.sweep("torch-mlp") / name).write_text("{}", "utf-8")
    applied = sweep("torch", "--apply")
    assert applied.returncode == 0, applied.stderr
    *result, last = applied.stdout.splitlines()
    assert done.splitlines()[-len(result) :] == result
    assert last == f"params.yaml: 3 parameters of trial {best['trial']} written"
    assert json.loads((paths.sweep("torch-mlp") / results.BEST).read_text("utf-8")) == best
    assert len((paths.sweep("torch-mlp") / results.TRIALS).read_text("utf-8").splitlines()) == 1 + before
    assert len(open_study().trials) == before
    settings = params.read()
    assert {name: overrides.value_of(settings, name) for name in best["parameters"]} == best["parameters"]


def test_a_killed_process_is_replaced_by_the_others(done):
    assert done.count("a process has failed: ended by signal 9") == 1


def test_keras_is_searched_as_well(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    write_params(workspace, {**QUICK, "sweep.trials": 2, "sweep.workers": 1})
    found = sweep("keras")
    assert found.returncode == 0, found.stdout + found.stderr
    assert len(studies.finished(open_study("keras"))) == 2


def test_a_sweep_in_postgresql_goes_on_without_a_killed_process(tmp_path, monkeypatch, postgresql):
    changes = {"sweep.trials": 4, "sweep.heartbeat": 3, "sweep.storage": postgresql}
    synthetic.enter(tmp_path, monkeypatch, {**QUICK, **changes})
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    studies.open_storage(params.read().sweep, tmp_path)  # which makes the tables
    monkeypatch.setattr(processes, "COMMAND", ["-c", ONE_IS_KILLED])
    done = sweep()
    assert done.returncode == 0, done.stdout + done.stderr
    study = open_study()
    assert len(studies.finished(study)) == 4
    assert not study.get_trials(states=studies.OPEN)
    assert study.get_trials(states=(TrialState.FAIL,))
    assert done.stdout.count("a process has failed: ended by signal 9") == 1
    assert json.loads((paths.sweep("torch-mlp") / results.BEST).read_text("utf-8"))["finished"] == 4
    assert not (paths.sweep("torch-mlp") / studies.JOURNAL).exists()


def test_a_database_that_is_lost_ends_the_sweep_with_one_line(tmp_path, monkeypatch, postgresql):
    synthetic.enter(tmp_path, monkeypatch, {**QUICK, "train.epochs": 10_000, "sweep.storage": postgresql})
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    studies.open_storage(params.read().sweep, tmp_path)  # which makes the tables
    command = start()
    while not trials_in_training("torch"):
        assert command.poll() is None, command.communicate()
        time.sleep(0.2)  # each look opens the database
    url = sqlalchemy.make_url(postgresql)
    with sqlalchemy.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {url.database} WITH (FORCE)"))
    output = command.communicate(timeout=600)[0]
    assert command.returncode == 1
    assert "Traceback" not in output
    assert re.search(rf"error: sweep.storage = {re.escape(postgresql)}: .*{url.database}", output.splitlines()[-1])


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A sweep for one trial, and its study."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {**QUICK, "sweep.trials": 1})
    found = search.Search(Candidate("torch", "mlp"), params.read(), "accuracy", {})
    found.folder.mkdir(parents=True)
    return found, search._open_study(found)


def test_an_interrupted_sweep_has_no_trial_in_progress(opened, monkeypatch):
    """Not even one that was just begun, whose process was killed before it could write its name to it."""
    found, study = opened
    monkeypatch.setattr(processes, "started", lambda tasks, settings: nullcontext(processes.Processes({})))

    def interrupt():
        with search._recovering(found, study, []):
            study.ask()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(study.get_trials(states=(TrialState.FAIL,))) == 1
    assert not study.get_trials(states=(TrialState.RUNNING,))


def test_current_parameters_whose_trial_has_failed_are_enqueued_again(opened):
    found, study = opened
    study.tell(study.ask(), state=TrialState.FAIL)
    for _ in range(2):
        search._open_study(found)
        (waiting,) = study.get_trials(states=(TrialState.WAITING,))
        assert waiting.user_attrs == {studies.CURRENT: True}


def test_a_trial_that_is_not_restarted_is_reported_as_abandoned(opened, capsys):
    found, study = opened
    for _ in range(studies.MAX_RETRIES + 1):
        study.ask()
        search._open_study(found)
    assert [line.removeprefix("torch-mlp sweep: ") for line in capsys.readouterr().out.splitlines()] == [
        "trial 0 of a killed process is restarted",
        "trial 1 of a killed process is restarted",
        "trial 2 of a killed process is abandoned after 3 attempts",
    ]


def test_other_parameters_begin_another_study_with_a_line(opened, capsys):
    found, _ = opened
    search._open_study(found)
    assert capsys.readouterr().out == ""
    search._open_study(replace(found, sections={"train": {}}))
    message = "torch-mlp sweep: a new study begins, with other parameters or data than 1 earlier one"
    assert capsys.readouterr().out.splitlines() == [message]


@pytest.mark.parametrize(("limit", "differs"), [(None, False), (1.0, True)])
def test_a_latency_is_of_a_batch_size_and_a_device(tmp_path, monkeypatch, limit, differs):
    synthetic.enter(tmp_path, monkeypatch)
    chosen, names = Candidate("torch", "mlp"), set()
    for changes in ({}, {"evaluate.latency_batches": [32]}, {"evaluate.device": "cpu"}):
        settings = params.read(write_params(tmp_path, {"sweep.maximum_latency_ms": limit, **changes}))
        names.add(search.Search(chosen, settings, "accuracy", search._sections(chosen, settings)).study_name)
    assert len(names) == (3 if differs else 1)


@pytest.mark.parametrize("finishes", [True, False])
def test_a_last_process_that_ends_between_two_looks_has_finished_the_sweep(opened, monkeypatch, finishes):
    found, study = opened
    trial = study.ask()

    class Ending:
        """A process that ends after it was seen running, and before its status is looked at."""

        has_ended = False

        def failed(self):
            if finishes and not self.has_ended:
                study.tell(trial, 0.5)
            self.has_ended = True
            return set()

        def alive(self):
            return not self.has_ended

    monkeypatch.setattr(search.processes, "started", lambda *_: nullcontext(Ending()))
    run = SimpleNamespace(id="0", experiment_id="0")
    with nullcontext() if finishes else pytest.raises(InputError, match="no process is left"):
        search._train_trials(found, study, run)


def trials_in_training(framework):
    try:
        running = open_study(framework).get_trials(states=(TrialState.RUNNING,))
    except (ValueError, OSError):  # no journal yet, or no study in it
        return []
    return [trial for trial in running if {studies.VALUES, studies.PROCESS} <= trial.user_attrs.keys()]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sweep.parameters": {"models.cnn.dense": {"low": 1, "high": 2}}}, "sweep.parameters has none of mlp"),
        ({"sweep.parameters": {"train.rate": {"low": 1, "high": 2}}}, "sweep.parameters.train.rate: unknown"),
        ({"train.loss": "mse"}, "train.loss = 'mse' does not fit 'digits'"),
    ],
)
def test_mistakes_are_reported_before_a_study_begins(tmp_path, monkeypatch, changes, words):
    synthetic.enter(tmp_path, monkeypatch, changes)
    assert_one_error_line(run_main(main, "--framework", "torch", "--architecture", "mlp"), words)
    assert not paths.sweep("torch-mlp").exists()
