"""Training and sweeps on a local Ray and on a cluster of two nodes on this machine.

Those that start Ray need the extra: `uv run --extra ray pytest tests/pipelines/execution`.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import mlflow
import numpy as np
import optuna
import psutil
import pytest
import tensorflow  # noqa: F401  # before torch, whose event writer would replace a part of it
from optuna.trial import TrialState

from models import checkpoint
from models.errors import InputError
from models.training import launchers
from pipelines.artifacts import paths
from pipelines.check import __main__ as check
from pipelines.config import params
from pipelines.execution import ray_cluster
from pipelines.sweep import studies
from pipelines.train import __main__ as stage
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main, write_params

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None,
    reason="the extra `ray` is not installed: uv run --extra ray pytest tests/pipelines/execution",
)
# Five batches an epoch.
SMALL = {"train.minimum_steps": 0, "train.batch_size": 256, "train.device": "cpu", "models.mlp.hidden": [16]}
ON_RAY = SMALL | {"train.epochs": 60, "train.workers": 2, "run.engine": "ray"}
SECONDS = 600.0  # at most, for a command to come so far


def start(*words: str) -> "subprocess.Popen[str]":
    """A command in the working directory."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *words], env=environment, stdout=pipe, stderr=pipe, text=True)


def train(framework: str) -> "subprocess.Popen[str]":
    return start("-m", "pipelines.train", "--framework", framework, "--architecture", "mlp")


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    stdout, stderr = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def wait_until(condition, process, pause=0.02):
    end = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(pause)


def weights(framework: str) -> dict[str, np.ndarray]:
    with np.load(paths.checkpoint(f"{framework}-mlp") / checkpoint.FILE) as file:
        return dict(file)


def worker(framework: str, rank: int, command: "subprocess.Popen[str]") -> psutil.Process:
    """The training process of this rank, somewhere below a command."""
    found = []
    for process in psutil.Process(command.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            place = launchers.read(framework, process.environ()) if "pipelines.train" in process.cmdline() else None
            # Worker 0 has forked a process that writes to MLflow.
            if place is not None and place.rank == rank:
                found.append(process)
    return min(found, key=lambda process: process.create_time())


@needs_ray
@pytest.mark.parametrize(("framework", "is_killed"), [("torch", True), ("keras", False)])
def test_two_workers_on_a_local_ray_match_one_process(framework, is_killed, tmp_path, monkeypatch):
    """Also where one of them is killed, and the training resumed."""
    synthetic.enter(tmp_path, monkeypatch, ON_RAY)
    if is_killed:
        command = train(framework)
        wait_until((paths.training_state(f"{framework}-mlp") / "state.npz").exists, command)
        worker(framework, 1, command).kill()
        assert_one_error_line(finish(command), "worker 1 of 2 was ended by SIGKILL", "the next start resumes")
    done = finish(train(framework))
    assert (done.returncode, done.stderr) == (0, "")
    assert (f"{framework}-mlp: resuming after epoch " in done.stdout) == is_killed
    run = mlflow.search_runs(search_all_experiments=True, output_format="list", filter_string="status = 'FINISHED'")[0]
    assert run.data.params["train.workers"] == "2"
    found = weights(framework)
    alone = tmp_path / "alone"
    alone.mkdir()
    synthetic.enter(alone, monkeypatch, {**ON_RAY, "train.workers": 1, "run.engine": "local"})
    assert run_main(stage.main, "--framework", framework, "--architecture", "mlp").returncode == 0
    for name, array in weights(framework).items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-4, err_msg=name)


# A process that Ray has placed ends as soon as its standard input is closed.
PLACE = """
import sys
from pathlib import Path
from pipelines.execution import ray_cluster
from pipelines.execution.ports import PORTS
with ray_cluster.placed(None, 2, "cpu") as slots:
    for slot in slots:
        slot.start(["-c", "input()"], {}, Path("log"), Path("log"), "")
    addresses = [slot.address() for slot in slots]
    print([(interface, host, port in PORTS) for interface, host, port in addresses], flush=True)
    import ray
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


@needs_ray
def test_a_local_ray_listens_on_the_loopback_interface_alone_and_ends_with_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    command = subprocess.Popen([sys.executable, "-c", PLACE], env=environment, stdin=pipe, stdout=pipe, text=True)
    assert command.stdout is not None
    assert command.stdout.readline() == "[('lo', '127.0.0.1', True), ('lo', '127.0.0.1', True)]\n"
    processes = [psutil.Process(command.pid), *psutil.Process(command.pid).children(recursive=True)]
    connections = [one for process in processes for one in process.net_connections("inet")]
    listening = {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1", "::ffff:127.0.0.1"}
    assert_refused(command.stdout.readline().strip())
    placed = [process for process in processes if process.cmdline()[1:] == ["-c", "input()"]]
    assert len(placed) == 2
    command.send_signal(signal.SIGKILL)
    command.communicate()
    end = time.monotonic() + SECONDS
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in placed):
        assert time.monotonic() < end
        time.sleep(0.1)


def assert_refused(address: str) -> None:
    """A client without the token cannot connect."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_NUM_REDIS_GET_RETRIES": "1"}
    words = [sys.executable, "-c", f"import ray; ray.init({address!r})"]
    done = subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert "ConnectionError: Failed to connect to Ray cluster" in done.stderr


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes with a core each, on the loopback interface."""
    for name, value in ray_cluster.LOOPBACK_ONLY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    from ray.cluster_utils import Cluster

    found = Cluster()
    for _ in range(2):
        found.add_node(node_ip_address=ray_cluster.LOOPBACK, include_dashboard=False)
    yield found
    found.shutdown()


@needs_ray
def test_a_sweep_on_two_nodes_goes_on_when_one_is_lost(tmp_path, monkeypatch, cluster):
    space = {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    # Trials of several seconds, so that some are left when Ray notices the loss.
    sweep = {"sweep.trials": 4, "sweep.workers": 2, "sweep.parameters": space, "train.epochs": 300}
    synthetic.enter(tmp_path, monkeypatch, {**ON_RAY, **sweep, "train.workers": 1, "run.address": cluster.address})
    command = start("-m", "pipelines.sweep", "--framework", "torch", "--architecture", "mlp")
    wait_until(lambda: len(processes_of_trials()) == 2, command, pause=0.2)  # each look opens the study
    (second,) = cluster.worker_nodes
    cluster.remove_node(second, allow_graceful=False)
    done = finish(command)
    assert done.returncode == 0, done.stderr
    assert "has been marked dead" in done.stderr  # by Ray, which would print it to standard output
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.count("a process has failed: ended by signal 9") == 1
    assert "torch-mlp sweep: 4 trials finished" in done.stdout
    best = json.loads((paths.sweep("torch-mlp") / "best.json").read_text("utf-8"))
    assert best["finished"] == 4


def processes_of_trials() -> set[str]:
    """The names of the processes that have begun a trial."""
    try:
        storage = studies.open_storage(params.read().sweep, paths.sweep("torch-mlp"))
        (name,) = optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=name, storage=storage).trials
    except (ValueError, OSError):  # no journal yet, or no study in it
        return set()
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    return {trial.user_attrs[studies.PROCESS] for trial in running if studies.PROCESS in trial.user_attrs}


@needs_ray
def test_a_cluster_that_does_not_answer_is_reported(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch, {**ON_RAY, "run.address": "127.0.0.1:9"})
    assert_one_error_line(finish(train("torch")), "run.address = '127.0.0.1:9': Connection refused")


def test_a_missing_ray_is_reported_at_check(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch, {"run.engine": "ray"})
    monkeypatch.setattr("pipelines.config.compatibility.find_spec", lambda _: None)
    assert_one_error_line(run_main(check.main), "run.engine = 'ray': Ray is not installed; use `uv run --extra ray`")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run.engine": "spark"}, "run.engine"),
        ({"run.address": "head:6379"}, "engine = 'local' with address = 'head:6379'; allowed: null"),
        ({"run.engine": "ray", "run.address": "head"}, 'run.address = "head"; allowed: null, HOST:PORT'),
        ({"run.engine": "ray", "train.device": "cuda:1"}, "train.device = 'cuda:1'"),
    ],
)
def test_invalid_engines_are_rejected(tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr("pipelines.config.compatibility.find_spec", lambda _: object())
    monkeypatch.setattr("pipelines.config.compatibility.has_nvidia_driver", lambda: True)
    synthetic_changes = {**SMALL, **changes}
    monkeypatch.chdir(tmp_path)
    write_params(Path(), synthetic_changes)
    assert_one_error_line(run_main(check.main), words)


@pytest.mark.parametrize(
    ("nodes", "count", "device", "expected"),
    [
        ([{"CPU": 2}], 2, "auto", {"CPU": 1}),
        ([{"CPU": 8}, {"CPU": 8}, {}], 2, "auto", {"CPU": 8}),
        ([{"CPU": 8}, {"CPU": 4}], 3, "auto", {"CPU": 4}),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 32}], 1, "auto", {"CPU": 8, "GPU": 1}),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 32}], 1, "cpu", {"CPU": 32}),
        ([{"CPU": 8, "GPU": 2}], 2, "cuda", {"CPU": 4, "GPU": 1}),
        ([{"CPU": 8, "GPU": 1}], 2, "auto", {"CPU": 4}),
    ],
)
def test_all_processes_have_equal_resources(nodes, count, device, expected):
    assert ray_cluster._bundle(nodes, count, device) == expected


def test_a_cluster_that_is_too_small_is_rejected():
    with pytest.raises(InputError, match="3 processes, but the Ray cluster has 2 cores"):
        ray_cluster._bundle([{"CPU": 1}, {"CPU": 1}, {}], 3, "auto")
    with pytest.raises(InputError, match=r"train.device = 'cuda', but the Ray cluster has 1 GPU$"):
        ray_cluster._bundle([{"CPU": 8, "GPU": 1}], 2, "cuda")
