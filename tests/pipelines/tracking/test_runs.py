import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from models.errors import InputError
from models.plotting.palette import PALETTE
from pipelines import rollback
from pipelines.artifacts import paths
from pipelines.doctor import mlflow_store
from pipelines.tracking import location, model_registry, runs
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main

SOON = 120.0  # seconds within which an unreachable store is reported, on a busy machine; MLflow's retries take minutes


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch)
    return tmp_path


def status_of(run_id):
    return mlflow.get_run(run_id).info.status


def test_a_run_that_ends_well_is_finished_and_keeps_what_was_logged(workspace):
    with runs.Tracker("tandem").start("torch-cnn", {"framework": "torch"}) as run:
        run.log_params({"train": {"schedule": {"name": "cosine"}}, "seed": 0})
        run.log_once({"epoch/loss": 0.5}, 1)
        run.log_once({"epoch/loss": 0.25}, 2)
        assert status_of(run.id) == "RUNNING"
    found = mlflow.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"train.schedule.name": "cosine", "seed": "0"}
    assert [point.value for point in mlflow.MlflowClient().get_metric_history(run.id, "epoch/loss")] == [0.5, 0.25]
    assert found.data.tags["framework"] == "torch"


class UnlockedError(RuntimeError):
    """What `threading.Condition` raises if it is interrupted while it waits."""

    def __init__(self):
        super().__init__("release unlocked lock")
        self.__context__ = KeyboardInterrupt()


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "FAILED"), (SystemExit, "FAILED"), (KeyboardInterrupt, "KILLED"), (UnlockedError, "KILLED")],
)
def test_an_interrupted_run_has_its_status_and_keeps_what_was_logged(workspace, error, status):
    ids = []

    def break_off():
        with runs.Tracker("tandem").start("torch-cnn", {}) as run:
            ids.append(run.id)
            run.log_once({"epoch/loss": 0.5}, 1)
            raise error

    with pytest.raises(error):
        break_off()
    assert status_of(ids[0]) == status
    assert mlflow.get_run(ids[0]).data.metrics["epoch/loss"] == 0.5
    assert mlflow.active_run() is None


def test_a_recorded_run_is_resumed(workspace):
    with runs.Tracker("tandem").start("torch-cnn", {}) as first:
        first.log_metrics({"loss": 0.5})
    with runs.Tracker("tandem").resume("torch-cnn", first.id) as second:
        second.log_metrics({"test/accuracy": 0.9})
    assert second.id == first.id
    metrics = mlflow.get_run(first.id).data.metrics  # also of the system, unless the run is very short
    assert {name: value for name, value in metrics.items() if not name.startswith("system/")} == {
        "loss": 0.5,
        "test/accuracy": 0.9,
    }
    assert status_of(first.id) == "FINISHED"


@pytest.mark.parametrize("lost", ["0123456789abcdef" * 2, "no run id at all", "deleted"])
def test_a_lost_run_is_replaced_once_by_a_tagged_one(workspace, capfd, lost):
    if lost == "deleted":
        with runs.Tracker("tandem").start("torch-cnn", {}) as run:
            lost = run.id
        mlflow.delete_run(lost)
    with runs.Tracker("tandem").resume("torch-cnn", lost) as first:
        pass
    with runs.Tracker("tandem").resume("torch-cnn", lost) as second:
        pass
    assert first.id == second.id != lost
    assert mlflow.get_run(first.id).data.tags["tandem.replaces_run"] == lost
    assert capfd.readouterr().out.count(f"run {lost} is not in sqlite:///") == 1


def test_a_run_id_in_the_environment_is_ignored(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123456789abcdef" * 2)
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    assert run.id != "0123456789abcdef" * 2


def test_artifacts_lie_beside_the_store(workspace):
    (workspace / "table.csv").write_text("a\n1\n", "utf-8")
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        run.log_artifact(workspace / "table.csv", "evaluation")
    assert (workspace / "mlartifacts" / run.id / "artifacts" / "evaluation" / "table.csv").is_file()


def test_images_of_one_name_are_kept_for_each_epoch(workspace):
    with runs.Tracker("tandem").start("torch-mlp", {}) as run:
        for epoch in (1, 2):
            run.log_image("decision boundary", np.full((4, 4, 3), epoch, np.uint8), epoch)
    names = [path.name for path in (workspace / "mlartifacts" / run.id / "artifacts" / "images").glob("*.png")]
    assert sorted(re.match(r"decision boundary\Wstep\W(\d)\W", name)[1] for name in names) == ["1", "2"]


def test_a_split_is_an_input_of_the_run(workspace):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        for split in ("train", "test"):
            run.log_dataset(synthetic.SPEC, split, paths.split(split))
    entries = {entry.tags[0].value: entry.dataset for entry in mlflow.get_run(run.id).inputs.dataset_inputs}
    assert {split: dataset.name for split, dataset in entries.items()} == {
        "train": "digits-train",
        "test": "digits-test",
    }
    assert entries["train"].digest != entries["test"].digest


def test_a_registered_graph_keeps_its_weights_and_its_signature(workspace):
    synthetic.write_candidate("torch-cnn")
    file = paths.exports("torch-cnn") / "model.onnx"
    example = synthetic.digits()["test"][0][:2]
    for expected in ("1", "2"):
        with runs.Tracker("tandem").start("torch-cnn", {}) as run:
            version = model_registry.register_onnx(
                file, synthetic.SPEC, np.array(example), run, "digits", {"candidate": "torch-cnn"}, "the best"
            )
        assert version.version == expected
        model_registry.set_alias(version, model_registry.CHAMPION)
    found = mlflow.MlflowClient().get_model_version_by_alias("digits", "champion")
    assert (found.version, found.tags, found.description) == (2, {"candidate": "torch-cnn"}, "the best")
    stored = Path(mlflow.artifacts.download_artifacts("models:/digits@champion", dst_path=str(workspace / "out")))
    assert (stored / "model.onnx").read_bytes() == file.read_bytes()


def test_a_copy_that_dvc_makes_uses_the_store_of_the_workspace(workspace, monkeypatch):
    copy = workspace / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert location.workspace() == workspace
    assert model_registry.promotion_alias() == "challenger"
    (copy / "table.csv").write_text("a\n1\n", "utf-8")
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        run.log_artifact(copy / "table.csv")
    assert location.uri() == f"sqlite:///{workspace}/mlflow.db"
    assert list(copy.iterdir()) == [copy / "table.csv"]
    assert (workspace / "mlartifacts" / run.id / "artifacts" / "table.csv").is_file()


def test_two_processes_may_make_the_store_at_once(tmp_path):
    code = (
        "from pipelines.tracking import runs\nwith runs.Tracker('tandem').start('torch-cnn', {}) as run: print(run.id)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=600) for process in started]
    assert [process.returncode for process in started] == [0, 0], results
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("tandem")
    found = {run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    assert found == {output.strip() for output, _ in results}


KILLED_WHILE_CREATING = """
import os, sys
from alembic.operations import Operations
from pipelines.tracking import store
create_table = Operations.create_table
def end(*arguments, **options):
    create_table(*arguments, **options)
    os._exit(9)
if sys.argv[1] == "killed":
    Operations.create_table = end
print(store.open_experiment("tandem"))
"""


def test_a_store_whose_creation_was_killed_is_created_again(tmp_path):
    """MLflow's migrations, of which the first creates a table that the second attempt would create again."""
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(REPOSITORY)

    def run(kind):
        command = [sys.executable, "-c", KILLED_WHILE_CREATING, kind]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert run("killed").returncode == 9
    done = run("next")
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", ".dvc"}


def test_a_deleted_experiment_is_named(workspace):
    with runs.Tracker("tandem").start("torch-cnn", {}):
        pass
    mlflow.delete_experiment(mlflow.get_experiment_by_name("tandem").experiment_id)
    with pytest.raises(InputError, match=r"tracking\.experiment = 'tandem' was deleted"), started():
        pass


def started():
    return runs.Tracker("tandem").start("torch-cnn", {})


def refusal(address, monkeypatch):
    """The message for a store that cannot be used, raised within SOON."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    begun = time.monotonic()
    with pytest.raises(InputError) as caught, started():
        pass
    assert time.monotonic() - begun < SOON
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:9", "not reachable (ConnectionError)"),
        ("http://no-such-host.invalid:5000", "not reachable"),
        ("http://127.0.0.1:port", "not reachable (InvalidURL)"),
        ("postgresql://127.0.0.1:9/mlflow", "Connection refused"),
        ("postgresql://127.0.0.1:port/mlflow", "Port could not be cast"),
        ("sqlite:////proc/mlflow.db", "unable to open database file"),
        ("gopher://somewhere", "unsupported URI 'gopher://somewhere'"),
    ],
)
def test_an_unreachable_address_is_reported_soon(workspace, monkeypatch, address, words):
    message = refusal(address, monkeypatch)
    assert words in message
    assert address in message


def test_a_server_that_never_responds_is_reported_soon(workspace, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
    assert "not reachable (ReadTimeout)" in message


def test_a_proxy_without_a_server_is_reported_soon(workspace, monkeypatch):
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        message = refusal(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        server.shutdown()
    assert "it answers HTTP 503" in message


def test_no_message_and_no_record_shows_a_password(workspace, monkeypatch):
    message = refusal("http://user:secret@127.0.0.1:9/mlflow?token=hidden", monkeypatch)
    assert "MLFLOW_TRACKING_URI = http://127.0.0.1:9/mlflow:" in message
    for word in ("user", "secret", "hidden"):
        assert word not in message


@pytest.mark.parametrize("address", ["http://user:secret@[bad", "http://user:se\u2100cret@host"])
def test_an_invalid_address_is_one_line_without_the_password(workspace, monkeypatch, capfd, address):
    message = refusal(address, monkeypatch)
    assert message == "MLFLOW_TRACKING_URI is not a valid address; allowed: such as http://HOST:PORT"
    assert_one_error_line(run_main(rollback.main, "--list"), message)
    assert mlflow_store.check().detail == message
    assert mlflow_store.check_champion().detail == f"not compared with the registry: {message}"
    assert "cret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("postgresql+psycopg://u:p@db:5432/mlflow?sslmode=require", "postgresql+psycopg://db:5432/mlflow"),
        ("https://token@tracking.example.org", "https://tracking.example.org"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_credentials(monkeypatch, address, shown):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert location.public_uri() == shown


def test_neighbouring_runs_differ_in_colour(workspace):
    run_ids = []
    for _ in range(len(PALETTE) + 1):
        with runs.Tracker("tandem").start("torch-cnn", {}) as run:
            run_ids.append(run.id)
    colours = [mlflow.get_run(run).data.tags["mlflow.runColor"] for run in run_ids]
    assert colours == [*PALETTE, PALETTE[0]]


def test_a_run_lasts_as_long_as_its_training(workspace):
    with runs.Tracker("tandem").start("torch-cnn", {}) as first:
        pass
    ended = mlflow.get_run(first.id).info.end_time
    with runs.Tracker("tandem").resume("torch-cnn", first.id):
        time.sleep(0.01)
    assert mlflow.get_run(first.id).info.end_time == ended


def test_names_distinguish_the_runs_of_one_candidate(workspace):
    names = []
    for _ in range(2):
        with runs.Tracker("tandem").start("torch-cnn", {}) as run:
            names.append(mlflow.get_run(run.id).info.run_name)
        time.sleep(1.1)
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"torch-cnn \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", name) for name in names)


def test_the_experiment_opens_in_the_view_for_training(workspace):
    with runs.Tracker("tandem").start("torch-cnn", {}):
        pass
    assert mlflow.get_experiment_by_name("tandem").tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_stages_of_one_command_have_a_tag_in_common(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    stage = "from pipelines.tracking import provenance; print(provenance.pipeline_run())"
    call = f"import subprocess, sys\nfor _ in range(2): subprocess.run([sys.executable, '-c', {stage!r}])\n"
    (tmp_path / "dvc").write_text(call, "utf-8")
    command = [sys.executable, str(tmp_path / "dvc")]
    first, second = (subprocess.check_output(command, text=True).splitlines() for _ in range(2))
    assert first[0] == first[1] != second[0] == second[1]
    monkeypatch.setenv("DVC_EXP_NAME", "ionic-name")
    assert subprocess.check_output(command, text=True).splitlines() == ["ionic-name"] * 2
