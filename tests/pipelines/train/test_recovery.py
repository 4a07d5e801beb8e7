import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import tensorflow  # noqa: F401  # before torch, whose event writer would replace a part of it
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models import checkpoint
from pipelines.artifacts import history, layer_history, paths, training_record
from pipelines.artifacts.hashing import hash_files
from pipelines.execution.candidate import Candidate
from pipelines.export import __main__ as export
from pipelines.tracking import location
from pipelines.train import __main__ as train
from pipelines.train import recovery
from pipelines.train.monitor import TrainingMonitor
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main, write_params

FRAMEWORKS = ("torch", "keras")
QUICK = {"train.epochs": 4, "train.minimum_steps": 0, "train.device": "cpu", "models.mlp.hidden": [16]}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder of each name that a test enters, with the same data and parameters."""

    def enter(name, changes=None):
        (tmp_path / name).mkdir()
        synthetic.enter(tmp_path / name, monkeypatch, {**QUICK, **(changes or {})})

    return enter


def run_train(framework, architecture="mlp"):
    return run_main(train.main, "--framework", framework, "--architecture", architecture)


def interrupt(monkeypatch, framework, epoch, error=KeyboardInterrupt, before="inspect"):
    """Train until this epoch is to be inspected, before its state is stored, or recorded, after that."""
    function = getattr(TrainingMonitor, before)

    def raise_error(monitor, *arguments):
        epochs = arguments[:1] or [epoch for epoch, _ in monitor.unrecorded]
        if [each.epoch for each in epochs] == [epoch]:
            raise error
        return function(monitor, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingMonitor, before, raise_error)
        return run_train(framework)


def state_file(framework):
    return paths.training_state(f"{framework}-mlp") / "state.npz"


def result(framework):
    """SHA-256 of the weights; the history and that of the layers without what depends on the clock."""
    folder = paths.checkpoint(f"{framework}-mlp")
    epochs = history.read(folder / history.FILE)
    columns = [name for name in epochs.dtype.names if name != "examples_per_second"]
    weights = hash_files([folder / checkpoint.FILE])
    return weights, epochs[columns].tolist(), (folder / layer_history.FILE).read_text("utf-8")


def run_of(framework):
    return mlflow.get_run(training_record.read(paths.checkpoint(f"{framework}-mlp") / training_record.FILE)["run_id"])


def recorded(run):
    """The epochs of a run in MLflow."""
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "epoch/train_loss")
    return sorted(point.step for point in points)


def assert_each_metric_once(run, epochs):
    client = mlflow.MlflowClient()
    steps = {key: [point.step for point in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics}
    assert {name for name in steps if name.startswith("epoch/")} >= {"epoch/train_loss", "epoch/validation_loss"}
    for key, found in steps.items():
        if key.startswith(("epoch/", "layers/")):
            assert sorted(found) == list(range(1, epochs + 1)), key
    assert steps["best_epoch"] == steps["stored_epoch"] == [0]


def test_the_logged_number_of_epochs_is_that_of_the_training(workspace):
    workspace("longer", {"train.epochs": 1, "train.minimum_steps": 200})
    assert run_train("torch").returncode == 0
    epochs = len(history.read(paths.checkpoint("torch-mlp") / history.FILE))
    assert epochs > 1
    assert run_of("torch").data.params["train.epochs"] == str(epochs)


@pytest.mark.parametrize(("before", "stored"), [("inspect", 2), ("record", 3)])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_after_ctrl_c_the_stage_continues_in_the_same_run(workspace, monkeypatch, framework, before, stored):
    workspace("whole")
    assert run_train(framework).returncode == 0
    expected = result(framework)
    workspace("interrupted")
    assert interrupt(monkeypatch, framework, 3, before=before).returncode == 130
    (killed,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (killed.info.status, recorded(killed)) == ("KILLED", [1, 2])
    done = run_train(framework)
    assert f"{framework}-mlp: resuming after epoch {stored} of 4, run {killed.info.run_id}\n" in done.stdout
    assert result(framework) == expected
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.run_id, run.info.status) == (killed.info.run_id, "FINISHED")
    assert run.info.run_id == run_of(framework).info.run_id
    assert_each_metric_once(run, 4)
    events = EventAccumulator(str(paths.TENSORBOARD / f"{framework}-mlp")).Reload()
    points = events.Scalars if framework == "torch" else events.Tensors
    assert [point.step for point in points("epoch/train_loss")] == [1, 2, 3, 4]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_after_kill_9_the_stage_continues_in_the_same_run(workspace, framework):
    workspace("whole", {"train.epochs": 12})
    assert run_train(framework).returncode == 0
    expected = result(framework)
    workspace("killed", {"train.epochs": 12})
    kill_once_stored(framework)
    done = run_train(framework)
    assert f"{framework}-mlp: resuming after epoch " in done.stdout, done.stdout
    assert result(framework) == expected
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "FINISHED"
    assert_each_metric_once(run, 12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_complete_training_that_dvc_has_not_recorded_is_not_repeated(workspace, monkeypatch, framework):
    """As if DVC had been killed between the end of the stage and its entry in dvc.lock."""
    workspace("here")
    assert run_train(framework).returncode == 0
    expected, first = result(framework), run_of(framework).info.run_id
    shutil.rmtree(paths.checkpoint(f"{framework}-mlp"))  # as DVC does before it runs the stage again
    done = run_train(framework)
    assert f"{framework}-mlp: resuming after epoch 4 of 4, run {first}\n" in done.stdout
    assert result(framework) == expected
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.run_id, run.info.status) == (first, "FINISHED")
    assert_each_metric_once(run, 4)


def test_a_training_whose_outputs_exist_is_repeated_in_a_new_run(workspace):
    workspace("here")
    assert run_train("torch").returncode == 0
    first = run_of("torch").info.run_id
    done = run_train("torch")
    assert "resum" not in done.stdout
    assert "not used" not in done.stdout
    assert run_of("torch").info.run_id != first


def test_export_deletes_the_state_of_the_training(workspace):
    workspace("here")
    assert run_train("torch").returncode == 0
    assert state_file("torch").exists()
    assert run_main(export.main, "--framework", "torch", "--architecture", "mlp").returncode == 0
    assert not state_file("torch").parent.exists()


def kill_once_stored(framework):
    """Kill the stage, in a process of its own, when it has stored an epoch."""
    command = [sys.executable, "-m", "pipelines.train", "--framework", framework, "--architecture", "mlp"]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while not state_file(framework).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A workspace in which a training was interrupted in its third epoch. Tests copy it."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        synthetic.enter(folder, patch, QUICK)
        assert interrupt(patch, "torch", 3).returncode == 130
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("parameters", "parameters changed"),
        ("data", "data changed"),
        ("code", "code changed"),
        ("torn", "state.npz is damaged"),
        ("flipped", "state.npz is damaged"),
        ("empty", "state.npz is damaged"),
    ],
)
def test_the_state_of_another_training_or_a_damaged_one_is_deleted_with_a_line(
    interrupted, tmp_path, monkeypatch, change, reason
):
    shutil.copytree(interrupted, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    mlflow.set_tracking_uri(location.uri())
    file = state_file("torch")
    content = file.read_bytes()
    if change == "parameters":
        write_params(Path(), {**QUICK, "train.epochs": 3})
    elif change == "data":
        inputs = np.load(paths.split("train") / "inputs.npy")
        np.save(paths.split("train") / "inputs.npy", inputs[:, ::-1])
    elif change == "code":
        monkeypatch.setattr(recovery, "_code", lambda _: [file])
    else:
        file.with_name("synced.npz").unlink()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        file.write_bytes({"torn": content[:-100], "flipped": flipped, "empty": b""}[change])
    done = run_train("torch")
    (line,) = (line for line in done.stdout.splitlines() if "state of a training" in line)
    assert line.startswith("torch-mlp: the stored state of a training is not used, as ")
    assert reason in line
    assert "resuming" not in done.stdout
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED"]


def test_a_failed_training_continues_even_if_its_run_is_gone_and_its_seconds_add_up(workspace, monkeypatch):
    workspace("here")
    done = interrupt(monkeypatch, "torch", 3, OSError("out of memory"))
    assert_one_error_line(done, "out of memory")
    (lost,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    mlflow.delete_run(lost.info.run_id)
    chosen = Candidate("torch", "mlp")
    before = recovery.StateFile(chosen.name, {}).read()
    assert before.seconds > 0
    recovery.StateFile(chosen.name, recovery._read(state_file("torch"))[0]["fingerprint"]).write(
        replace(before, seconds=1000.0)
    )
    assert run_train("torch").returncode == 0
    run = run_of("torch")
    assert run.info.run_id != lost.info.run_id
    assert_each_metric_once(run, 4)
    record = training_record.read(paths.checkpoint("torch-mlp") / training_record.FILE)
    assert 1000 < record["seconds"] < 2000


def test_a_loss_that_is_no_number_leaves_no_state(workspace):
    workspace("here", {"train.learning_rate": 1e30, "train.optimizer": "sgd", "train.gradient_clip": None})
    assert_one_error_line(run_train("torch"), "in epoch 1")
    assert not state_file("torch").exists()


def test_the_code_of_a_candidate_is_that_of_its_stage():
    files = {file.relative_to(REPOSITORY).as_posix() for file in recovery._code(Candidate("torch", "cnn"))}
    assert {"models/torch/cnn.py", "models/training/loop.py", "pipelines/train/recovery.py"} <= files
    assert not {"models/torch/mlp.py", "models/keras/fit.py"} & files


def test_every_epoch_is_stored_and_some_are_known_to_be_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock, written = [0.0], {False: [], True: []}
    monkeypatch.setattr(recovery.time, "monotonic", lambda: clock[0])

    def write(path, arrays, synced=False):
        assert synced == (path.name == "synced.npz")
        written[synced].append(arrays["epoch"])
        clock[0] += 0.1 if synced else 0.01

    monkeypatch.setattr(recovery, "_write", write)
    monkeypatch.setattr(recovery.StateFile, "_arrays", lambda _, epoch: {"epoch": epoch})
    file = recovery.StateFile("torch-mlp", {})
    for epoch in range(1, 1001):
        clock[0] += 0.02
        file.write(epoch)
    assert written[False] == list(range(1, 1001))
    assert written[True][0] == 1
    assert 0.01 < len(written[True]) * 0.1 / clock[0] <= 0.021


def test_each_entry_of_a_growing_list_is_encoded_once():
    encoded = []

    def jsonable(entry):
        encoded.append(entry)
        return [entry]

    growing = recovery.GrowingList()
    for length in range(4):
        assert json.loads(growing.encode([*range(length)], jsonable).tobytes()) == [[entry] for entry in range(length)]
    assert encoded == [0, 1, 2]


def test_after_a_power_failure_the_state_that_is_on_the_disk_is_used(workspace, monkeypatch):
    monkeypatch.setattr(recovery, "SYNC_SHARE", 1e-9)  # only the first epoch
    workspace("here")
    assert interrupt(monkeypatch, "torch", 3).returncode == 130
    state_file("torch").write_bytes(b"")
    assert "torch-mlp: resuming after epoch 1 of 4" in run_train("torch").stdout
