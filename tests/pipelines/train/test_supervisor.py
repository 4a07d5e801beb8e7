"""Workers end together, whatever ends one of them; the next start resumes the training."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
import tensorflow  # noqa: F401  # before torch, whose event writer would replace a part of it

from models import checkpoint
from models.errors import InputError
from models.training import launchers
from pipelines.artifacts import paths
from pipelines.execution.process import THREADS, LocalProcess
from pipelines.train import __main__ as train
from pipelines.train import local_workers, supervisor
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main

SMALL = {"train.minimum_steps": 0, "train.batch_size": 256, "train.device": "cpu", "models.mlp.hidden": [16]}
QUICK = SMALL | {"train.workers": 2}
LIMIT_SECONDS = 120  # in which all workers have ended after one was lost; they wait half an hour for one another
SLEEP = "import time; print('started', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def start(framework: str) -> "subprocess.Popen[str]":
    """The stage in the working directory."""
    command = [sys.executable, "-m", "pipelines.train", "--framework", framework, "--architecture", "mlp"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def workers_of(process: "subprocess.Popen[str]", framework: str) -> list[psutil.Process]:
    """By rank."""
    children = psutil.Process(process.pid).children()
    places = {launchers.read(framework, child.environ()): child for child in children}
    return [child for _, child in sorted(places.items(), key=lambda item: item[0].rank)]


def weights(framework: str) -> dict[str, np.ndarray]:
    with np.load(paths.checkpoint(f"{framework}-mlp") / checkpoint.FILE) as file:
        return dict(file)


def wait_until(condition):
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_after_a_worker_is_killed_all_end_and_the_next_start_resumes(framework, tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch, {**QUICK, "train.epochs": 100})
    file = paths.training_state(f"{framework}-mlp") / "state.npz"
    stage = start(framework)
    wait_until(lambda: file.exists() or stage.poll() is not None)
    workers = workers_of(stage, framework)
    assert len(workers) == 2
    workers[1].kill()
    killed = time.monotonic()
    done = finish(stage)
    assert time.monotonic() - killed < LIMIT_SECONDS
    assert_one_error_line(done, "worker 1 of 2 was ended by SIGKILL", "the next start resumes")
    assert not any(worker.is_running() for worker in workers)
    done = finish(start(framework))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{framework}-mlp: resuming after epoch " in done.stdout
    assert "Gloo" not in done.stdout
    run = mlflow.search_runs(search_all_experiments=True, output_format="list", filter_string="status = 'FINISHED'")[0]
    assert run.data.params["train.workers"] == "2"
    found = weights(framework)
    alone = tmp_path / "alone"
    alone.mkdir()
    synthetic.enter(alone, monkeypatch, {**QUICK, "train.epochs": 100, "train.workers": 1})
    assert run_main(train.main, "--framework", framework, "--architecture", "mlp").returncode == 0
    for name, array in weights(framework).items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-4, err_msg=name)


def test_ctrl_c_ends_the_workers_and_the_run(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch, {**QUICK, "train.epochs": 10_000})
    stage = start("torch")
    wait_until((paths.training_state("torch-mlp") / "state.npz").exists)
    workers = workers_of(stage, "torch")
    stage.send_signal(signal.SIGINT)
    done = finish(stage)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert not any(worker.is_running() for worker in workers)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "KILLED"


def test_workers_end_with_a_supervisor_that_is_killed(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from pipelines.train import local_workers\n"
        f"local_workers.run([sys.executable, '-c', {SLEEP!r}], [os.environ] * 2, Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
    wait_until(lambda: len(psutil.Process(process.pid).children()) == 2)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    wait_until(lambda: not any(is_alive(worker) for worker in workers))


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def worker(folder: Path, rank: int, code: str) -> LocalProcess:
    log = folder / f"{rank}.log"
    return LocalProcess([sys.executable, "-c", code], os.environ, log, log)


def test_a_worker_that_ignores_the_termination_signal_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE", 1.0)
    workers = [worker(tmp_path, 0, DEAF), worker(tmp_path, 1, "raise SystemExit('error: no memory')")]
    with pytest.raises(InputError, match=r"^no memory$"):
        supervisor.watch(workers)
    wait_until(lambda: workers[0].lines() == ["started"])
    supervisor.end(workers)
    assert [each.status() for each in workers] == [-signal.SIGKILL, 1]


def test_the_traceback_of_a_worker_is_shown(tmp_path, capsys):
    workers = [worker(tmp_path, 0, "1 / 0")]
    with pytest.raises(InputError, match=r"^worker 0 of 1 failed with status 1, so all have ended$"):
        supervisor.watch(workers)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_log_of_the_first_worker_ends_with_a_line_break(tmp_path, capsys):
    with supervisor.ended_together() as workers:
        workers.append(worker(tmp_path, 0, "print('first'); print('second')"))
        supervisor.watch(workers)
    assert capsys.readouterr().err == "first\nsecond\n"


def test_workers_meet_on_this_machine_and_share_its_cores(tmp_path, monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)), raising=False)
    first, second = local_workers._environments("torch", 2, tmp_path)
    assert (first["RANK"], second["RANK"], first["MASTER_ADDR"]) == ("0", "1", "127.0.0.1")
    assert first["GLOO_SOCKET_IFNAME"].startswith("lo")
    assert first[launchers.RENDEZVOUS] == second[launchers.RENDEZVOUS] == f"file://{tmp_path}/rendezvous"
    assert first["OMP_NUM_THREADS"] == second["TF_NUM_INTRAOP_THREADS"] == "3"


def test_a_launcher_with_another_number_of_processes_is_refused(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch, QUICK)
    for name, value in launchers.write("torch", ["127.0.0.1:1"] * 3, 1, 1).items():
        monkeypatch.setenv(name, value)
    done = run_main(train.main, "--framework", "torch", "--architecture", "mlp")
    assert_one_error_line(done, "train.workers = 2, but the number of processes of the launcher is 3; allowed: 3")


def test_torchrun_starts_the_workers(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch, {**QUICK, "train.epochs": 2})
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*launcher, "pipelines.train", "--framework", "torch", "--architecture", "mlp"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("torch-mlp: 2 epochs in ") == 1
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.status, run.data.params["train.workers"]) == ("FINISHED", "2")
    assert weights("torch")
