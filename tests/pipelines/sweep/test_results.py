import csv
import shlex

import optuna
import pytest
from dvc.utils.hydra import apply_overrides
from optuna.trial import TrialState

from models.errors import InputError
from pipelines.config import overrides, params
from pipelines.execution.candidate import Candidate
from pipelines.sweep import plots, results, search, studies
from pipelines.sweep.progress import Display
from pipelines.sweep.results import Result
from tests.pipelines import synthetic
from tests.pipelines.workspace import write_params

VALUES = {
    "train.learning_rate": 1.234e-05,
    "train.gradient_clip": None,
    "train.batch_size": 128,
    "train.optimizer": "sgd",
    "train.nesterov": True,
    "models.cnn.channels": [16, 48],
}
RESULT = Result(
    "torch-mlp", "torch-mlp 0", 30, 12, "accuracy", 7, 0.98, 0, 0.97, "", 0.25, 269, VALUES, dict.fromkeys(VALUES)
)


def test_the_command_sets_the_parameters(tmp_path):
    words = shlex.split(RESULT.command)
    assert words[:3] == ["dvc", "exp", "run"]
    assert words[3::2] == ["-S"] * len(VALUES)
    file = write_params(tmp_path, {})
    apply_overrides(file, words[4::2])
    found = params.read(file)
    assert {name: overrides.value_of(found, name) for name in VALUES} == VALUES


def test_the_summary_names_the_best_values_the_current_ones_and_the_test():
    first, best, *values, command = RESULT.lines()
    assert first == "torch-mlp sweep: 30 trials finished, 12 of them pruned"
    assert best == (
        "best: validation accuracy 0.9800 in trial 7; "
        "validation accuracy 0.9700 with the current parameters (trial 0), p = 0.25 (exact McNemar test, 269 examples)"
    )
    assert "  models.cnn.channels = [16, 48], currently null" in values
    assert command == RESULT.command


def trial(state, value, **attributes):
    steps = {} if value is None else {1: value}
    kept = None if state is TrialState.FAIL else value
    return optuna.create_trial(state=state, value=kept, intermediate_values=steps, user_attrs=attributes)


def study_of(*trials):
    study = optuna.create_study(direction="maximize", study_name="torch-mlp 0")
    study.add_trials(trials)
    return study


@pytest.fixture
def promote(tmp_path, monkeypatch):
    return synthetic.enter(tmp_path, monkeypatch).promote


def test_the_current_parameters_may_be_the_best(promote, tmp_path):
    study = study_of(
        trial(TrialState.COMPLETE, 0.9, current=True, values=VALUES), trial(TrialState.COMPLETE, 0.9, values={})
    )
    result = results.compare("torch-mlp", study, "accuracy", promote, VALUES, tmp_path)
    assert result.is_current
    assert result.lines()[1:] == [
        "validation accuracy 0.9000 with the current parameters (trial 0); no trial is better"
    ]


def test_outputs_on_another_machine_are_not_tested(promote, tmp_path):
    study = study_of(
        trial(TrialState.COMPLETE, 0.9, current=True, values=VALUES), trial(TrialState.COMPLETE, 0.95, values=VALUES)
    )
    result = results.compare("torch-mlp", study, "accuracy", promote, VALUES, tmp_path)
    assert result.p_value is None
    assert result.lines()[1].endswith("not tested: the outputs are on another machine")


def test_a_sweep_without_a_result_says_why(promote, tmp_path):
    study = study_of(trial(TrialState.PRUNED, 0.1, current=True, reason="too large"))
    with pytest.raises(InputError, match=r"all trials were pruned \(1\): too large"):
        results.compare("torch-mlp", study, "accuracy", promote, VALUES, tmp_path)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (trial(TrialState.PRUNED, 0.1, current=True, reason="too large"), "too large"),
        (trial(TrialState.FAIL, None, current=True), "its process has ended each time"),
        (trial(TrialState.FAIL, None, current=True, reason="KeyError: 1"), "KeyError: 1"),
    ],
)
def test_the_best_is_named_where_the_current_parameters_have_no_result(promote, tmp_path, first, reason):
    study = study_of(first, trial(TrialState.COMPLETE, 0.5, values=VALUES))
    result = results.compare("torch-mlp", study, "accuracy", promote, VALUES, tmp_path)
    assert not result.is_current
    assert (result.trial, result.current_trial, result.current_value, result.p_value) == (1, None, None, None)
    assert result.lines()[1] == (
        f"best: validation accuracy 0.5000 in trial 1; the current parameters were not trained to the end: {reason}"
    )
    assert result.lines()[-1] == result.command


def test_the_table_names_the_reason_of_a_failed_trial(tmp_path):
    failed = trial(TrialState.FAIL, None), trial(TrialState.FAIL, None, reason="KeyError: 1")
    results.write_trials(study_of(*failed, trial(TrialState.COMPLETE, 0.5)), [], tmp_path / results.TRIALS)
    rows = csv.DictReader((tmp_path / results.TRIALS).read_text("utf-8").splitlines())
    assert [row["reason"] for row in rows] == ["its process was killed", "KeyError: 1", ""]


def test_progress_shows_finished_and_pruned_trials_the_best_one_and_the_remaining_time():
    trials = studies.finished(
        study_of(*(trial(TrialState.COMPLETE, value) for value in (0.5, 0.9, 0.7)), trial(TrialState.PRUNED, 0.95))
    )
    display = Display("torch-mlp", "accuracy", 10, 2, higher_is_better=True)
    assert display.line(trials, seconds=60.0) == (
        "torch-mlp sweep: 4 of 10 trials, 1 pruned, best accuracy 0.9000 in trial 1, 03:00 left"
    )
    assert Display("torch-mlp", "log_loss", 10, 0, higher_is_better=False).line(trials, 4.0) == (
        "torch-mlp sweep: 4 of 10 trials, 1 pruned, best log_loss 0.5000 in trial 0, 00:06 left"
    )


def test_results_of_a_sweep_are_replaced_together(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("No space left on device")

    settings = params.read(write_params(tmp_path, {}))
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / results.TRIALS).write_text("before", "utf-8")
    monkeypatch.setattr(search.Search, "folder", folder)
    monkeypatch.setattr(results, "compare", lambda *_: RESULT)
    monkeypatch.setattr(plots, "draw", fail)
    sweep = search.Search(Candidate("torch", "mlp"), settings, "accuracy", {})
    with pytest.raises(OSError, match="No space left"):
        search._write_results(sweep, study_of(trial(TrialState.COMPLETE, 0.5)))
    assert {file.name: file.read_text("utf-8") for file in folder.iterdir()} == {results.TRIALS: "before"}
