"""Several processes on one study, and what is left by those that are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial

import optuna
import pytest
from optuna.trial import TrialState

from models.errors import InputError
from pipelines.config import params
from pipelines.sweep import studies, worker
from tests.pipelines.workspace import REPOSITORY

TRIALS = 24


@pytest.fixture(scope="module")
def config():
    found = params.read(REPOSITORY / "params.yaml").sweep
    return found.model_copy(update={"trials": TRIALS, "heartbeat": 3})


def quadratic(trial):
    return (trial.suggest_float("x", -1, 1) - 0.3) ** 2


def open_study(config, folder):
    return optuna.create_study(
        storage=studies.open_storage(config, folder), study_name="torch-mlp 0", load_if_exists=True
    )


def values(study):
    return [trial.params["x"] for trial in studies.finished(study)]


PROCESS = """
import sys, time
from pathlib import Path
import optuna
from pipelines.config.sweep import Sweep
from pipelines.sweep import studies, worker

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    print(trial.number, flush=True)
    time.sleep(float(sys.argv[3]))
    return x * x

config = Sweep.model_validate_json(sys.argv[1])
study = optuna.load_study(study_name="torch-mlp 0", storage=studies.open_storage(config, Path()))
worker.optimize(study, objective, config, f"process {sys.argv[2]}", int(sys.argv[2]))
"""


def start(config, folder, index, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, config.model_dump_json(), str(index), str(seconds)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )


def run_four_and_kill_one(config, folder, recover):
    """Four processes share the store; one is killed within a trial. The study, and the number of that trial."""
    study = open_study(config, folder)
    slow = start(config, folder, 0, 60)
    killed = int(slow.stdout.readline())
    processes = [start(config, folder, index, 0.02) for index in (1, 2, 3)]
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    while any(process.poll() is None for process in processes):
        recover(study)
        time.sleep(0.05)
    assert [process.wait() for process in processes] == [0, 0, 0]
    return study, killed


def assert_exact(study, killed):
    """Exactly TRIALS are finished, by three processes; the values of the killed one were tried again."""
    assert len(studies.finished(study)) == TRIALS
    users = Counter(trial.user_attrs[studies.PROCESS] for trial in studies.finished(study))
    assert set(users) <= {"process 1", "process 2", "process 3"}
    assert not study.get_trials(states=studies.OPEN)
    assert study.trials[killed].state is TrialState.FAIL
    (again,) = [trial for trial in studies.finished(study) if studies.retry_of(trial) == killed]
    assert again.params == study.trials[killed].params


def test_four_processes_share_a_journal_and_the_trial_of_a_killed_one_begins_anew(config, tmp_path):
    def recover(study):
        studies.fail(study, partial(studies.is_of, {"process 0"}))

    assert_exact(*run_four_and_kill_one(config, tmp_path, recover))


def test_four_processes_share_postgresql_and_a_trial_without_heartbeat_begins_anew(config, tmp_path, postgresql):
    config = config.model_copy(update={"storage": postgresql})
    assert_exact(*run_four_and_kill_one(config, tmp_path, studies.fail_stale))


def test_threads_that_begin_a_last_trial_at_once_finish_no_more_than_were_asked_for(config, tmp_path):
    """Whatever the order of their steps: more begin than are needed, and the surplus fails."""
    config = config.model_copy(update={"trials": 3})
    everyone_looked = threading.Barrier(6)
    study = open_study(config, tmp_path)

    def run(index):
        own = optuna.load_study(study_name="torch-mlp 0", storage=studies.open_storage(config, tmp_path))
        assert studies.has_free_trial(own, config.trials)
        everyone_looked.wait()
        worker.optimize(own, quadratic, config, f"process {index}", index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(studies.finished(study)) == 3
    failed = study.get_trials(states=(TrialState.FAIL,))
    assert {trial.user_attrs[studies.REASON] for trial in failed} <= {"enough other trials are finished or in progress"}


def test_an_unreachable_database_is_reported_in_one_line(config, tmp_path):
    config = config.model_copy(update={"storage": "postgresql+psycopg://ann@127.0.0.1:1/sweeps"})
    with pytest.raises(InputError, match=r"sweep.storage = .*127.0.0.1:1/sweeps: .*onnection") as caught:
        studies.open_storage(config, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("torn", [b"", b"{", b'{"op_code":4,"worker_id":"0-1","tri', b"\xff"])
def test_a_torn_last_line_is_cut_and_a_lock_that_was_left_is_removed(config, tmp_path, torn):
    config = config.model_copy(update={"trials": 2})
    worker.optimize(open_study(config, tmp_path), quadratic, config, "process 0", 0)
    with (tmp_path / studies.JOURNAL).open("ab") as journal:
        journal.write(torn)
    (tmp_path / f"{studies.JOURNAL}.lock").touch()
    studies.unlock(tmp_path)
    study = open_study(config, tmp_path)
    assert len(studies.finished(study)) == 2
    worker.optimize(study, quadratic, config.model_copy(update={"trials": 3}), "process 0", 0)
    assert len(studies.finished(open_study(config, tmp_path))) == 3


def test_what_a_killed_process_was_writing_is_cut_by_the_next_one_that_writes(config, tmp_path):
    """The others go on, and all can read the journal."""
    config = config.model_copy(update={"trials": 2})
    study = open_study(config, tmp_path)
    with (tmp_path / studies.JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"0-1","tri')
    worker.optimize(study, quadratic, config, "process 0", 0)
    assert len(studies.finished(open_study(config, tmp_path))) == 2
    assert not (tmp_path / f"{studies.JOURNAL}.lock").exists()


class Killed(BaseException):
    """Ends a trial as the end of its process does: Optuna does not notice it."""


def test_an_interrupted_search_continues_with_the_values_of_one_that_is_not(config, tmp_path):
    folders = [tmp_path / name for name in ("whole", "interrupted")]
    for folder in folders:
        folder.mkdir()
    whole, interrupted = (open_study(config, folder) for folder in folders)
    worker.optimize(whole, quadratic, config, "process 0", 0)

    def killed_at_sixteenth(trial):
        value = quadratic(trial)
        if trial.number == 15:
            raise Killed
        return value

    with pytest.raises(Killed):
        worker.optimize(interrupted, killed_at_sixteenth, config, "process 0", 0)
    assert studies.fail(interrupted, partial(studies.is_of, {"process 0"})) == {15: True}
    worker.optimize(interrupted, quadratic, config, "process 0", 0)
    assert values(interrupted) == values(whole)
    assert len(set(values(whole))) == TRIALS


def test_a_search_continues_with_other_values_after_an_error_of_a_trial(config, tmp_path, monkeypatch):
    """The same ones would end every process that draws them."""
    monkeypatch.setattr(studies, "RETRY_SECONDS", 0.0)
    config = config.model_copy(update={"trials": 2})
    study, tried = open_study(config, tmp_path), []

    def fail_first(trial):
        tried.append(quadratic(trial))
        if len(tried) == 1:
            raise RuntimeError("CUDA error:\n  an illegal instruction")
        return tried[-1]

    with pytest.raises(RuntimeError):
        worker.optimize(study, fail_first, config, "process 0", 0)
    worker.optimize(study, fail_first, config, "process 0", 0)
    assert len(set(tried)) == 3
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.trials[0].user_attrs[studies.REASON] == "RuntimeError: CUDA error: an illegal instruction"


def test_another_seed_or_process_has_other_values(config, tmp_path):
    found = set()
    for name, seed, index in (("a", 0, 0), ("b", 1, 0), ("c", 0, 1)):
        (tmp_path / name).mkdir()
        study = open_study(config, tmp_path / name)
        small = config.model_copy(update={"trials": 2, "seed": seed})
        worker.optimize(study, quadratic, small, "process", index)
        found |= set(values(study))
    assert len(found) == 6


def test_a_trial_that_kills_its_process_is_tried_three_times(config, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "RETRY_SECONDS", 0.0)
    study, restarted = open_study(config, tmp_path), {}

    def kill(trial):
        quadratic(trial)
        raise Killed

    for _ in range(3):
        with pytest.raises(Killed):
            worker.optimize(study, kill, config, "process 0", 0)
        restarted |= studies.fail(study, partial(studies.is_of, {"process 0"}))
    assert restarted == {0: True, 1: True, 2: False}
    assert [studies.retry_of(trial) for trial in study.trials] == [None, 0, 0]
    assert len({trial.params["x"] for trial in study.trials}) == 1
    assert not study.get_trials(states=studies.OPEN)
    worker.optimize(study, quadratic, config.model_copy(update={"trials": 1}), "process 0", 0)
    assert len({trial.params["x"] for trial in study.trials}) == 2


def test_the_place_of_a_trial_that_has_just_failed_is_not_free(config, tmp_path, monkeypatch):
    """Optuna enqueues the values of one without heartbeats only after it was marked as failed."""
    study = open_study(config, tmp_path)
    study.tell(study.ask(), state=TrialState.FAIL)
    assert not studies.has_free_trial(study, 1)
    assert studies.has_free_trial(study, 2)
    monkeypatch.setattr(studies, "RETRY_SECONDS", 0.0)
    assert studies.has_free_trial(study, 1)


def test_no_other_trial_takes_the_place_of_one_that_begins_anew(config, tmp_path, monkeypatch):
    """Also where the process that restarts it is killed in between."""
    config = config.model_copy(update={"trials": 2})
    study = open_study(config, tmp_path)
    for name in ("process 0", "process 1"):
        trial = study.ask()
        trial.suggest_float("x", -1, 1)
        trial.set_user_attr(studies.PROCESS, name)

    def killed(*_, **__):
        raise MemoryError

    is_dead = partial(studies.is_of, {"process 0"})
    with monkeypatch.context() as patch:
        patch.setattr(study, "tell", killed)
        with pytest.raises(MemoryError):
            studies.fail(study, is_dead)
    assert studies.has_free_trial(study, 2)
    (waiting,) = study.get_trials(states=(TrialState.WAITING,))
    assert not studies.is_surplus(study, waiting.number, 2)
    assert studies.fail(study, is_dead) == {0: True}
    study.tell(1, 0.5)
    worker.optimize(study, quadratic, config, "process 2", 2)
    assert [trial.number for trial in studies.finished(study)] == [1, waiting.number]
    assert study.trials[waiting.number].params == study.trials[0].params


def test_a_trial_that_begins_anew_is_not_of_the_process_that_was_killed(config, tmp_path):
    study = open_study(config, tmp_path)
    study.ask().set_user_attr(studies.PROCESS, "process 0")
    is_dead = partial(studies.is_of, {"process 0"})
    assert studies.fail(study, is_dead) == {0: True}
    assert study.ask().number == 1  # by another process, which has not written its name yet
    assert studies.fail(study, is_dead) == {}


def test_a_trial_without_the_name_of_its_process_is_left_to_it_for_a_while(config, tmp_path):
    study = open_study(config, tmp_path)
    study.ask()
    assert studies.fail(study, partial(studies.is_of, {"process 0"})) == {}
    assert studies.fail(study, lambda _: True) == {0: True}


def test_one_sweep_at_a_time_uses_a_folder(tmp_path):
    with (
        studies.only_sweep(tmp_path),
        pytest.raises(InputError, match=r"sweep.lock: another sweep uses this folder"),
        studies.only_sweep(tmp_path),
    ):
        pass
    with studies.only_sweep(tmp_path):
        pass


def test_a_sweep_waits_for_the_processes_of_a_killed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "ORPHAN_SECONDS", 0.1)
    path = tmp_path / studies.WORKER_LOCK.format(0)
    code = "import sys, time, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as orphan:
        orphan.stdout.readline()
        with pytest.raises(InputError, match=r"worker-0.lock: another sweep"), studies.only_sweep(tmp_path):
            pass
        orphan.kill()
    with studies.only_sweep(tmp_path):
        pass
