"""A tracking server that dies, is restarted, or loses a response; processes that are killed."""

import contextlib
import errno
import http.server
import json
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests

from models.errors import InputError
from pipelines.artifacts import paths
from pipelines.tracking import abandoned, location, model_registry, outbox, run_process, runs, store
from pipelines.tracking.delivery import Delivery
from pipelines.tracking.run import Run
from pipelines.tracking.system_metrics import SystemMetricsThread
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY

WAITING = 200.0  # seconds, on a busy machine; MLflow's own retries take minutes


def log_epochs(run, epochs):
    for epoch in epochs:
        run.log_once({"epoch/loss": 1 / epoch, "epoch/accuracy": 1 - 1 / epoch}, epoch)


def steps(run_id, name="epoch/loss"):
    return [point.step for point in mlflow.MlflowClient().get_metric_history(run_id, name)]


def register(run):
    """Register a graph, as `promote` does: that needs the server."""
    example = synthetic.digits()["test"][0][:2]
    file = paths.exports("torch-cnn") / "model.onnx"
    return model_registry.register_onnx(file, synthetic.SPEC, example, run, "tandem", {}, "the best").version


def assert_complete(run_id, epochs):
    """Every metric of every epoch is there once, and the run has ended well."""
    for name in ("epoch/loss", "epoch/accuracy"):
        assert steps(run_id, name) == list(epochs)
    assert mlflow.get_run(run_id).info.status == "FINISHED"
    assert list(location.outboxes().iterdir()) == []


def test_a_server_that_is_restarted_during_a_run_gets_everything_once(server, capfd):
    (paths.ARTIFACTS / "table.csv").write_text("a\n1\n", "utf-8")
    synthetic.write_candidate("torch-cnn")
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        log_epochs(run, [1, 2])
        server.kill()
        log_epochs(run, [3, 4])
        run.log_params({"train": {"epochs": 4}})
        run.set_tags({"provider": "CPUExecutionProvider"})
        run.log_dataset(synthetic.SPEC, "test", paths.split("test"))
        run.log_image("epoch/boundary", np.zeros((4, 4, 3), np.uint8), 4)
        run.log_artifact(paths.ARTIFACTS / "table.csv", "evaluation")
        (paths.ARTIFACTS / "table.csv").unlink()
        run.log_native(
            paths.exports("torch-cnn") / "model.pt2", "torch", synthetic.SPEC, synthetic.digits()["test"][0][:2]
        )
        with pytest.raises(InputError, match=f"MLFLOW_TRACKING_URI = {server.uri}: not reachable"):
            register(run)
        server.start()
        assert register(run) == "1"
        log_epochs(run, [5, 6])
    assert_complete(run.id, [1, 2, 3, 4, 5, 6])
    assert capfd.readouterr().out.count("responds again") == 1
    found, client = mlflow.get_run(run.id), mlflow.MlflowClient()
    assert found.data.params == {"train.epochs": "4"}
    assert found.data.tags["provider"] == "CPUExecutionProvider"
    assert [entry.dataset.name for entry in found.inputs.dataset_inputs] == ["digits-test"]
    assert [file.path for file in client.list_artifacts(run.id, "evaluation")] == ["evaluation/table.csv"]
    assert len(client.list_artifacts(run.id, "images")) == 2
    models = {model.name: model for model in client.search_logged_models([found.info.experiment_id])}
    native = models["torch-cnn-native"]
    assert (native.source_run_id, native.status) == (run.id, "READY")
    stored = Path(mlflow.artifacts.download_artifacts(f"models:/{native.model_id}")) / "data" / "model.pt2"
    assert stored.read_bytes() == (paths.exports("torch-cnn") / "model.pt2").read_bytes()


# `pipelines.train`, which waits after its first epoch until the server was killed.
TRAINING = """
import sys, time
from pathlib import Path
from pipelines.execution import stage
from pipelines.train import __main__ as train
from pipelines.train.monitor import TrainingMonitor

def inspect(monitor, epoch, learner, inspect=TrainingMonitor.inspect):
    while epoch.epoch == 2 and not Path("killed").exists():
        time.sleep(0.01)
    inspect(monitor, epoch, learner)

TrainingMonitor.inspect = inspect
stage.run(train.main)
"""


def test_a_training_ends_well_although_its_server_was_killed(server, tmp_path, capfd):
    changes = {"architectures": ["mlp"], "train.epochs": 8, "train.minimum_steps": 0, "tracking.histograms": False}
    synthetic.write_params(tmp_path, changes)
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, "--framework", "torch", "--architecture", "mlp"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "epoch 1/8" in line:
            server.kill()
            killed = time.monotonic()
            Path("killed").touch()
    assert process.wait() == 0, lines
    assert time.monotonic() - killed < WAITING
    (line,) = [line for line in lines if "does not respond" in line]
    (folder,) = location.outboxes().iterdir()
    # The server dies before a request, or while it reads or answers one.
    assert line.startswith(f"torch-mlp: {server.uri} does not respond (")
    assert line.partition(" (")[2].startswith(
        ("Connection refused)", "Connection reset by peer)", "RemoteDisconnected: ", "IncompleteRead: ")
    )
    assert str(folder) in line
    assert "Traceback" not in "".join(lines)
    record = json.loads((paths.checkpoint("torch-mlp") / "run.json").read_text("utf-8"))
    assert (paths.checkpoint("torch-mlp") / "weights.npz").is_file()

    server.start()
    with runs.Tracker("tandem").resume("torch-mlp", record["run_id"]):
        assert f"of run {record['run_id']} delivered" in capfd.readouterr().out
    assert list(location.outboxes().iterdir()) == []
    assert steps(record["run_id"], "epoch/train_loss") == list(range(1, 9))
    assert mlflow.get_run(record["run_id"]).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("resets", "cause"),
    [(True, "Connection reset by peer"), (False, "RemoteDisconnected: Remote end closed connection without response")],
)
def test_the_cause_of_an_outage_is_the_error_of_the_connection(monkeypatch, resets, cause):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_connections():
            with contextlib.suppress(OSError):  # the listener was closed
                while True:
                    connection = listener.accept()[0]
                    connection.recv(65_536)
                    if resets:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

        thread = threading.Thread(target=close_connections, daemon=True)
        thread.start()
        with pytest.raises(mlflow.MlflowException) as caught:
            mlflow.MlflowClient(f"http://127.0.0.1:{listener.getsockname()[1]}").get_run("0" * 32)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert run_process._cause(caught.value) == cause


class LosesResponses(http.server.BaseHTTPRequestHandler):
    """Passes each request on; of every second one with an epoch, not only system metrics, it loses the response."""

    target, batches = "", Counter()

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        response = requests.request(self.command, self.target + self.path, data=body, headers=dict(self.headers))
        if "log-batch" in self.path and b"epoch/" in body:
            self.batches[self.target] += 1
            if self.batches[self.target] % 2:
                self.close_connection = True
                return
        self.send_response(response.status_code)
        self.send_header("Content-Length", str(len(response.content)))
        self.end_headers()
        self.wfile.write(response.content)

    do_GET = do_POST = do_PUT = do_PATCH = forward  # noqa: N815

    def log_message(self, *_):
        pass


def test_a_lost_response_repeats_no_metric(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    LosesResponses.target = server.uri
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), LosesResponses) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.server_port}")
        with runs.Tracker("tandem").start("torch-cnn", {}) as run:
            log_epochs(run, [1, 2, 3])
        assert_complete(run.id, [1, 2, 3])
        proxy.shutdown()
    assert LosesResponses.batches[server.uri] == 3  # what arrived is not sent again


def killed_process(code):
    """The first line that a process prints, which is then killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return line


RUNNING = """
import os, time
from pipelines.tracking import runs
with runs.Tracker("tandem").start("torch-cnn", {}) as run:
    run.log_once({"epoch/loss": 0.5}, 1)
    print(run.id, flush=True)
    time.sleep(60)
"""


NEVER_NOTED = """
from pipelines.tracking.outbox import Outbox
def note(_, run_id):
    print(run_id, flush=True)
    time.sleep(1)
    os._exit(1)
Outbox.set_run_id = note
"""


@pytest.fixture
def local(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch)


def test_the_next_command_ends_the_run_of_a_killed_process(local):
    run_id = killed_process(RUNNING)
    with runs.Tracker("tandem").start("torch-mlp", {}) as alive:
        assert mlflow.get_run(run_id).info.status == "KILLED"
        assert steps(run_id) == [1]
        with runs.Tracker("tandem").start("keras-mlp", {}):
            assert mlflow.get_run(alive.id).info.status == "RUNNING"
    assert list(location.outboxes().iterdir()) == []


def test_one_record_is_singular(local, capfd):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    box = outbox.create(location.outboxes(), outbox.Header(location.outbox_address(), "torch-cnn", "1", run.id))
    box.append("end", {"status": "FINISHED", "end_time": 10})
    box.close()
    abandoned.deliver()
    assert f"torch-cnn: 1 record of run {run.id} delivered" in capfd.readouterr().out


def test_a_process_killed_before_it_knows_its_run_leaves_none_running(local):
    code = RUNNING.replace("with runs", NEVER_NOTED + "with runs")
    run_id = killed_process(code)
    with runs.Tracker("tandem").start("torch-mlp", {}):
        pass
    assert mlflow.get_run(run_id).info.status == "KILLED"
    assert list(location.outboxes().iterdir()) == []


def test_a_resumed_run_of_a_killed_process_keeps_its_status(local):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    ended = mlflow.get_run(run.id).info
    killed_process(
        RUNNING.replace(
            'runs.Tracker("tandem").start("torch-cnn", {})', f"runs.Tracker('tandem').resume('torch-cnn', '{run.id}')"
        )
    )
    assert mlflow.get_run(run.id).info.status == "RUNNING"
    with runs.Tracker("tandem").start("torch-mlp", {}):
        pass
    after = mlflow.get_run(run.id).info
    assert (after.status, after.end_time) == ("FINISHED", ended.end_time)


def test_a_rejected_record_is_reported_once_and_does_not_hold_up_others(local, capfd):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        run.log_params({"seed": 1})
        run.log_params({"seed": 2})
        log_epochs(run, [1])
    assert_complete(run.id, [1])
    assert capfd.readouterr().out.count("torch-cnn: MLflow rejected params:") == 1


def test_system_metrics_behind_the_end_of_a_run_are_left_out(local, capfd):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    header = outbox.Header(location.outbox_address(), "torch-cnn", run.experiment_id, run.id)
    box = outbox.create(location.outboxes(), header)
    Run(box).end("FINISHED")
    Run(box).log_metrics({"system/cpu_utilization_percentage": 1.0})
    writer = run_process.Writer(multiprocessing.Pipe()[0], os.getppid(), run.experiment_id)
    writer.deliveries.append(Delivery(box))
    writer.system_metrics[box.id] = thread = SystemMetricsThread(run.id, Run(box).log_metrics)
    thread.start()
    writer._deliver_new_records()
    assert not thread.is_alive()
    assert writer.deliveries == list(location.outboxes().iterdir()) == []
    assert capfd.readouterr().out == ""


def test_the_records_of_other_runs_are_delivered_where_those_of_one_were_deleted(local, capfd):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    writer = run_process.Writer(multiprocessing.Pipe()[0], os.getppid(), run.experiment_id)
    header = outbox.Header(location.outbox_address(), "torch-cnn", run.experiment_id, run.id)
    lost, kept = (outbox.create(location.outboxes(), header) for _ in range(2))
    writer.deliveries += [Delivery(lost), Delivery(kept)]
    Run(kept).end("FAILED")
    shutil.rmtree(lost.folder)
    writer._deliver_new_records()
    assert writer.deliveries == []
    assert mlflow.get_run(run.id).info.status == "FAILED"
    output, errors = capfd.readouterr()
    assert f"torch-cnn: what was logged was deleted ([Errno 2] No such file or directory: '{lost.folder}" in output
    assert "Traceback" not in errors


def test_system_metrics_end_in_one_line_where_the_disk_is_full(capfd):
    def log(_values, _step):
        raise OSError(errno.ENOSPC, "No space left on device", "records.jsonl")

    thread = SystemMetricsThread("run", log)
    thread.start()
    thread.join(WAITING)
    message = "no more system metrics are logged: [Errno 28] No space left on device: 'records.jsonl'\n"
    output, errors = capfd.readouterr()
    assert output == message
    assert "Traceback" not in errors


def test_records_that_cannot_be_flushed_to_a_full_disk_are_delivered(local, capfd, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)  # also in the other process, a fork
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        log_epochs(run, [1])
        time.sleep(2 * run_process.POLL_SECONDS)
        log_epochs(run, [2])
    assert_complete(run.id, [1, 2])
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "No space left" in line]
    assert line.startswith("torch-cnn: a power failure may lose what is logged ([Errno 28] No space left on device: ")
    assert line.endswith("/records.jsonl')")


@pytest.mark.parametrize("error", [ConnectionError("refused"), mlflow.MlflowException("refused")])
def test_an_outage_during_a_download_is_not_taken_for_another_kind_of_version(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    synthetic.enter(tmp_path, monkeypatch)
    files = [mlflow.entities.FileInfo("champion/1/champion.json", False, 1)]
    monkeypatch.setattr(mlflow.MlflowClient, "list_artifacts", lambda *_: files)
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", fail)
    with pytest.raises(InputError, match=r"^MLflow store .*refused$"):
        model_registry.download(model_registry.ModelVersion("tandem", "1", "run", {}), tmp_path)


class EndpointConnectionError(Exception):
    """As that of boto3, which neither MLflow nor Python knows."""


def test_an_error_of_the_client_of_an_artifact_store_is_one_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise EndpointConnectionError("Could not connect\nto the endpoint")

    synthetic.enter(tmp_path, monkeypatch)
    monkeypatch.setattr(mlflow.MlflowClient, "list_artifacts", fail)
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", fail)
    version = model_registry.ModelVersion("tandem", "1", "run", {})
    for function in (model_registry.download, model_registry.store_beside_model):
        with pytest.raises(InputError) as caught:
            function(version, tmp_path)
        words = "EndpointConnectionError: Could not connect to the endpoint"
        assert str(caught.value) == f"MLflow store {location.public_uri()}: {words}"


def test_an_error_in_the_code_is_no_error_of_the_store():
    with pytest.raises(IndexError), store.errors_reported():
        raise IndexError


def test_an_interruption_within_the_client_is_no_error_of_the_store():
    error = RuntimeError("cannot release un-acquired lock")
    error.__context__ = KeyboardInterrupt()
    with pytest.raises(RuntimeError, match="un-acquired"), store.errors_reported():
        raise error


def test_delivery_that_was_not_noted_may_be_repeated_as_a_whole(local):
    """After a power failure, the number of delivered records may be too low."""
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    box = outbox.create(location.outboxes(), outbox.Header(location.outbox_address(), "torch-cnn", "1", run.id))
    files = box.files()
    (files / "table.csv").write_text("a\n", "utf-8")
    box.append("artifacts", {"folder": None}, files)
    for step in range(3):
        box.append("metrics", {"values": {"loss": 1.0}, "step": step, "timestamp": 10 + step})
    for record in box.new_records():
        Delivery(box).deliver(record, repeated=False)
    box.append("metrics", {"values": {"loss": 1.0}, "step": 3, "timestamp": 13})
    (box.folder / "delivered").write_text("", "utf-8")
    box.close()
    abandoned.deliver()
    assert steps(run.id, "loss") == [0, 1, 2, 3]
    assert list(location.outboxes().iterdir()) == []
