import mlflow
import pytest

from pipelines.tracking import abandoned, location, run_process, runs
from tests.pipelines import synthetic
from tests.pipelines.tracking.test_outage import killed_process, steps


@pytest.fixture
def parent(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch)
    with runs.Tracker("tandem").start("torch-mlp sweep", {}) as run:
        pass
    return run


def children(parent):
    condition = f"tags.`mlflow.parentRunId` = '{parent.id}'"
    return mlflow.MlflowClient().search_runs([parent.experiment_id], condition, order_by=["tags.trial"])


def log_two_trials(parent):
    tracker = runs.Tracker("tandem")
    for number in (0, 1):
        trial = f"torch-mlp trial {number}", {"trial": str(number)}
        with tracker.start_child(parent.id, parent.experiment_id, *trial) as run:
            run.log_params({"train.seed": number})
            run.log_once({"epoch/validation_loss": 0.5}, 1)
    tracker.close()


def assert_two_trials(parent):
    found = children(parent)
    assert [run.data.tags["trial"] for run in found] == ["0", "1"]
    assert [run.data.params for run in found] == [{"train.seed": "0"}, {"train.seed": "1"}]
    assert [run.info.status for run in found] == ["FINISHED", "FINISHED"]
    assert [run.info.run_name for run in found] == ["torch-mlp trial 0", "torch-mlp trial 1"]
    assert [steps(run.info.run_id, "epoch/validation_loss") for run in found] == [[1], [1]]
    assert list(location.outboxes().iterdir()) == []


def test_runs_below_a_run_are_created_and_ended_in_the_background(parent):
    log_two_trials(parent)
    assert_two_trials(parent)


def test_runs_that_begin_and_end_in_an_outage_are_delivered_once(parent, monkeypatch, capfd):
    def create_run(*_):
        raise ConnectionError("no response")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_run", create_run)
        patch.setattr(run_process, "RETRY_SECONDS", (0.01,))
        log_two_trials(parent)
    assert capfd.readouterr().out.count("does not respond") == 1
    assert children(parent) == []
    abandoned.deliver()
    assert_two_trials(parent)


def test_a_run_whose_creation_was_not_answered_is_created_once(parent, monkeypatch, capfd):
    original = mlflow.MlflowClient.create_run
    lost = []

    def create_run(*arguments):
        run = original(*arguments)
        if not lost:
            lost.append(run)
            raise ConnectionError("the response is lost")
        return run

    monkeypatch.setattr(run_process, "RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(mlflow.MlflowClient, "create_run", create_run)
    log_two_trials(parent)
    assert "the response is lost" in capfd.readouterr().out
    assert_two_trials(parent)


KILLED = """
import time
from pipelines.tracking import delivery, outbox, runs
{patch}
tracker = runs.Tracker("tandem")
with tracker.start_child("{parent}", "{experiment}", "torch-mlp trial 0", {{"trial": "0"}}) as run:
    run.log_once({{"epoch/validation_loss": 0.5}}, 1)
    {ready}
    time.sleep(60)
"""
NEVER_CREATED = """
def create(*_, **__):
    raise ConnectionError
delivery.Delivery._create = create
"""
WAIT = "while not outbox.read_header(run._outbox.folder).run_id: time.sleep(0.01)"


@pytest.mark.parametrize(
    ("patch", "ready"), [(NEVER_CREATED, "print(1, flush=True)"), ("", f"{WAIT}\n    print(1, flush=True)")]
)
def test_the_run_of_a_killed_process_ends_as_killed_whether_it_was_created_or_not(parent, patch, ready):
    code = KILLED.format(patch=patch, ready=ready, experiment=parent.experiment_id, parent=parent.id)
    assert killed_process(code) == "1"
    abandoned.deliver()
    (run,) = children(parent)
    assert run.info.status == "KILLED"
    assert steps(run.info.run_id, "epoch/validation_loss") == [1]
    assert list(location.outboxes().iterdir()) == []
