"""Single trials, in this process."""

from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
import tensorflow  # noqa: F401  # before torch, whose event writer would replace a part of it
from optuna.pruners import MedianPruner
from optuna.trial import TrialState

from models.metrics.quality import METRICS
from pipelines.artifacts import history, paths
from pipelines.execution.candidate import Candidate
from pipelines.sweep import studies
from pipelines.sweep.objective import Objective
from pipelines.tracking import runs
from pipelines.tracking.client import mlflow
from pipelines.train import __main__ as train
from tests.pipelines import synthetic
from tests.pipelines.workspace import run_main

FRAMEWORKS = ("torch", "keras")
QUICK = {"train.epochs": 3, "train.minimum_steps": 0, "train.device": "cpu", "models.mlp.hidden": [16]}
SPACE = {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
CURRENT = {studies.CURRENT: True}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    def enter(changes=None):
        changes = {**QUICK, "sweep.parameters": SPACE, **(changes or {})}
        return synthetic.enter(tmp_path, monkeypatch, changes)

    return enter


def run(settings, framework, trials, direction="maximize"):
    """A study with a trial for each item: values to try, by dotted name."""
    study = optuna.create_study(direction=direction, pruner=MedianPruner(n_startup_trials=1))
    with runs.Tracker("tandem").start("sweep", {}) as parent, closing(runs.Tracker("tandem")) as tracker:
        start_run = partial(tracker.start_child, parent.id, parent.experiment_id)
        objective = Objective(Candidate(framework, "mlp"), settings, start_run, Path("outputs"))
        for values, attributes in trials:
            study.enqueue_trial(values, user_attrs=attributes)
        study.optimize(objective, n_trials=len(trials))
    condition = f"tags.`mlflow.parentRunId` = '{parent.id}'"
    found = mlflow.MlflowClient().search_runs([parent.experiment_id], condition)
    return study, {int(run.data.tags["trial"]): run for run in found}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_trial_is_trained_as_by_the_stage_train(workspace, framework):
    settings = workspace()
    assert run_main(train.main, "--framework", framework, "--architecture", "mlp").returncode == 0
    epochs = history.read(paths.checkpoint(f"{framework}-mlp") / history.FILE)
    study, logged = run(settings, framework, [({}, {}), ({}, CURRENT)])
    other, current = study.trials
    assert current.user_attrs[studies.VALUES] == {"train.learning_rate": settings.train.learning_rate}
    assert list(current.intermediate_values.values()) == epochs["validation_accuracy"].tolist()
    assert list(other.intermediate_values.values()) != epochs["validation_accuracy"].tolist()
    outputs, targets = np.load("outputs/outputs-1.npy"), synthetic.digits()["validation"][1]
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
    assert METRICS["accuracy"](outputs, targets) == current.value == epochs["validation_accuracy"][-1]
    assert logged[1].data.metrics["accuracy"] == current.value
    assert logged[1].data.tags["trial_state"] == "complete"
    steps = mlflow.MlflowClient().get_metric_history(logged[1].info.run_id, "epoch/validation_loss")
    assert [point.value for point in steps] == epochs["validation_loss"].tolist()


def test_another_metric_is_computed_after_each_epoch(workspace):
    settings = workspace({"promote.metric": "log_loss"})
    study, _ = run(settings, "torch", [({}, CURRENT)], "minimize")
    (trial,) = study.trials
    assert trial.value == pytest.approx(trial.intermediate_values[3], rel=1e-6)
    assert trial.intermediate_values[3] < trial.intermediate_values[1]


def test_a_bad_trial_is_pruned_after_the_warm_up_and_marked(workspace):
    settings = workspace({"sweep.warmup": 0.5, "train.epochs": 4})
    study, logged = run(settings, "torch", [({"train.learning_rate": rate}, {}) for rate in (0.01, 0.001)])
    good, bad = study.trials
    assert (good.state, bad.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert list(bad.intermediate_values) == [1, 2, 3]
    best = max(bad.intermediate_values.values())
    assert bad.user_attrs["reason"] == f"best accuracy {best:.4f} up to epoch 3 of 4: worse than the median"
    assert logged[1].data.tags["trial_state"] == "pruned"
    assert logged[1].data.tags["trial_reason"] == bad.user_attrs["reason"]
    assert logged[1].data.params == {"train.learning_rate": "0.001"}
    assert {run.info.status for run in logged.values()} == {"FINISHED"}


def test_the_reason_names_the_value_that_is_compared_with_the_median(workspace):
    """The best one so far, which may not be the last."""
    settings = workspace({"sweep.warmup": 0.5, "train.epochs": 2})
    study = optuna.create_study(direction="maximize", pruner=MedianPruner(n_startup_trials=1))
    study.add_trial(optuna.create_trial(value=0.9, intermediate_values={1: 0.9, 2: 0.9}))
    objective, trial = Objective(Candidate("torch", "mlp"), settings, None, Path()), study.ask()
    objective._report(trial, 1, settings, [0.8])
    with pytest.raises(optuna.TrialPruned, match=r"best accuracy 0\.8000 up to epoch 2 of 2: worse than the median"):
        objective._report(trial, 2, settings, [0.8, 0.6])


def test_the_current_parameters_are_never_pruned(workspace):
    settings = workspace({"train.learning_rate": 0.001})
    study, _ = run(settings, "torch", [({"train.learning_rate": 0.02}, {}), ({"train.learning_rate": 0.001}, CURRENT)])
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.trials[1].value < study.trials[0].value


def test_the_outputs_of_equally_good_trials_are_kept_as_any_of_them_may_be_the_best(workspace):
    study, _ = run(workspace(), "torch", [({"train.learning_rate": 0.01}, {})] * 2)
    assert study.trials[0].value == study.trials[1].value
    assert {path.name for path in Path("outputs").iterdir()} == {"outputs-0.npy", "outputs-1.npy"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_trial_that_diverges_is_pruned_and_the_next_one_is_not(workspace, framework):
    space = {"train.learning_rate": {"low": 0.001, "high": 1e30, "log": True}}
    settings = workspace({"sweep.parameters": space, "train.optimizer": "sgd", "train.gradient_clip": None})
    study, _ = run(settings, framework, [({"train.learning_rate": rate}, {}) for rate in (1e30, 0.01)])
    diverged, good = study.trials
    assert (diverged.state, good.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    assert "in epoch 1" in diverged.user_attrs["reason"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_model_for_which_the_memory_does_not_suffice_is_pruned_and_the_next_one_is_not(workspace, framework):
    space = {"models.mlp.hidden": {"choices": [[8], [10**13]]}}  # 2.5 PB: more than a processor can address
    settings = workspace({"sweep.parameters": space})
    study, logged = run(settings, framework, [({"models.mlp.hidden": hidden}, {}) for hidden in (f"[{10**13}]", "[8]")])
    large, small = study.trials
    assert (large.state, small.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    assert large.user_attrs["reason"].startswith("out of memory: ")
    assert "\n" not in large.user_attrs["reason"]
    assert logged[0].data.tags["trial_reason"] == large.user_attrs["reason"]


def test_incompatible_values_are_pruned_with_the_reason(workspace):
    settings = workspace({"sweep.parameters": {"train.optimizer": {"choices": ["lbfgs", "sgd"]}}})
    study, _ = run(settings, "torch", [({"train.optimizer": '"lbfgs"'}, {}), ({"train.optimizer": '"sgd"'}, {})])
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert "train.optimizer = 'lbfgs' evaluates each batch several times" in study.trials[0].user_attrs["reason"]


def test_a_model_that_is_too_large_is_not_trained(workspace):
    space = {"models.mlp.hidden": {"choices": [[8], [64]]}}
    settings = workspace({"sweep.parameters": space, "sweep.maximum_parameters": 1000})
    study, _ = run(settings, "torch", [({"models.mlp.hidden": hidden}, {}) for hidden in ("[8]", "[64]")])
    small, large = study.trials
    assert (small.state, large.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert large.intermediate_values == {}
    assert large.user_attrs["reason"] == "4,810 parameters > sweep.maximum_parameters = 1,000"
    assert large.constraints == {"parameters": pytest.approx(3.81)}
    assert small.constraints["parameters"] < 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_model_that_is_too_slow_is_not_trained_and_each_one_is_measured_once(workspace, framework):
    settings = workspace({"sweep.maximum_latency_ms": 1e-6})
    study, _ = run(settings, framework, [({}, {}), ({}, {})])
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.PRUNED]
    assert "ms > sweep.maximum_latency_ms = 1e-06" in study.trials[0].user_attrs["reason"]
    assert study.trials[0].constraints == study.trials[1].constraints  # exactly
    settings = settings.model_copy(update={"sweep": settings.sweep.model_copy(update={"maximum_latency_ms": 1e6})})
    study, _ = run(settings, framework, [({}, CURRENT)])
    assert study.trials[0].state is TrialState.COMPLETE
    assert study.trials[0].user_attrs["latency_ms"] > 0


def test_current_values_outside_of_the_search_space_are_trained_and_not_shown_to_the_sampler(workspace):
    space = {"train.learning_rate": {"low": 0.5, "high": 1.0}, "models.mlp.dropout": {"low": 0.0, "high": 0.5}}
    settings = workspace({"sweep.parameters": space})
    study, _ = run(settings, "torch", [({"models.mlp.dropout": 0.2}, CURRENT), ({}, {})])
    assert study.trials[0].params == {"models.mlp.dropout": 0.2}
    assert study.trials[0].user_attrs[studies.VALUES] == {"train.learning_rate": 0.01, "models.mlp.dropout": 0.2}
    values = study.trials[1].user_attrs[studies.VALUES]
    assert set(values) == set(space)
    assert all(value == float(f"{value:.4g}") for value in values.values())
