import io
from dataclasses import replace

import pytest

from models.training.device import Device
from models.training.epoch import Epoch, Progress
from models.training.launchers import Place
from pipelines.train import __main__ as train
from pipelines.train import progress
from pipelines.train.progress import Display
from tests.pipelines import synthetic
from tests.pipelines.train.test_recovery import QUICK, run_train


class Terminal(io.StringIO):
    def isatty(self):
        return True


def epoch(number):
    return Epoch(number, 0.5, 0.25, 0.003, 12345.6, 1.5, train_accuracy=0.75, validation_accuracy=0.875)


def test_an_epoch_is_one_line_with_all_that_one_looks_for():
    assert progress.epoch_line(epoch(3), 20, "torch-cnn") == (
        "torch-cnn epoch 3/20: loss 0.5000 accuracy 0.7500 | validation loss 0.2500 accuracy 0.8750 | 12,346 examples/s"
    )


def test_a_regression_tells_its_error_in_place_of_an_accuracy():
    regression = Epoch(3, 0.5, 0.25, 0.003, 12345.6, 1.5, train_mae=7.5, validation_mae=8.25)
    assert progress.epoch_line(regression, 20, "torch-mlp") == (
        "torch-mlp epoch 3/20: loss 0.5000 mae 7.5000 | validation loss 0.2500 mae 8.2500 | 12,346 examples/s"
    )


@pytest.mark.parametrize(
    ("skipped", "words"), [(None, ""), (0, ""), (3, "; 6 steps not taken, as gradients overflowed")]
)
def test_the_outcome_has_the_steps_that_were_not_taken(skipped, words):
    history = [replace(epoch(number), skipped_steps=skipped) for number in (1, 2)]
    assert progress.outcome(history, 1.25) == f"2 epochs in 1.2 s{words}"


def test_small_errors_have_significant_digits():
    regression = Epoch(3, 0.5, 0.25, 0.003, 12345.6, 1.5, train_mae=1.23456e-5, validation_mae=0.0)
    line = progress.epoch_line(regression, 20, "torch-mlp")
    assert "loss 0.5000 mae 1.2346e-05 | validation loss 0.2500 mae 0.0000 |" in line


def test_one_epoch_is_singular():
    assert progress.outcome([epoch(1)], 1.25) == "1 epoch in 1.2 s"


def test_the_line_on_the_device_has_the_number_of_workers():
    device = Device("cpu", "CPU", "float32", {"float32": 0.002})
    words = "on CPU in float32; measured for a step: 2.0 ms in float32"
    assert train.environment(device, Place()) == f"training {words}"
    assert train.environment(device, Place(0, 2)) == f"training with 2 workers, each {words}"


def test_elsewhere_than_on_a_terminal_lines_are_plain_and_few(capsys, monkeypatch):
    clock = iter([0.0, 0.1, 0.2, 2.5, 2.6, 2.7])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    display = Display("torch-cnn", 6)
    for number in range(1, 7):
        display.step(Progress(number, 64, 128, 0.5, "accuracy", 0.75))
        display.epoch(epoch(number))
    display.close()
    shown = capsys.readouterr()
    assert [line.split(":")[0] for line in shown.out.splitlines()] == [
        f"torch-cnn epoch {number}/6" for number in (1, 4, 6)
    ]
    assert "\r" not in shown.out
    assert "\x1b" not in shown.out
    assert shown.err == ""


def test_the_last_epoch_is_printed_where_patience_ends_the_training(capsys, monkeypatch):
    clock = iter([0.0, 0.1, 0.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    display = Display("torch-cnn", 6)
    for number in (1, 2, 3):
        display.epoch(epoch(number))
    for _ in range(2):
        display.finish()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["torch-cnn epoch 1/6", "torch-cnn epoch 3/6"]


def test_the_stage_prints_the_last_epoch_before_its_patience_ends(tmp_path, monkeypatch):
    early = {"train.patience": 2, "train.learning_rate": 1e-30, "train.epochs": 9}
    synthetic.enter(tmp_path, monkeypatch, {**QUICK, **early})
    assert "torch-mlp epoch 3/9: " in run_train("torch").stdout


def test_on_a_terminal_there_is_a_bar_and_a_line_for_each_epoch_that_can_be_read(monkeypatch):
    terminal, clock = Terminal(), iter([0.0, 0.5, 0.51, 0.52])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stdout", terminal)
    display = Display("torch-cnn", 4)
    for number in range(1, 5):
        display.step(Progress(number, 64, 128, 0.5, "accuracy", 0.75))
        display.epoch(epoch(number))
    assert display.bar.total == 128
    display.close()
    shown = terminal.getvalue()
    assert [number for number in range(1, 5) if f"torch-cnn epoch {number}/4: loss 0.5000" in shown] == [1, 2, 4]
    assert "torch-cnn epoch 1/4:" in shown
    assert "/128" in shown
    assert shown.splitlines()[-1].strip() == ""  # the bar is gone


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_begins_anew_with_an_epoch(monkeypatch, terminal):
    monkeypatch.setattr("sys.stdout", Terminal() if terminal else io.StringIO())
    display = Display("torch-cnn", 2)
    for number, examples in ((1, 64), (1, 128), (2, 32)):
        display.step(Progress(number, examples, 128, 0.5, "accuracy", 0.75))
    assert display.bar.disable is not terminal
    if terminal:
        assert (display.bar.n, display.bar.total) == (32, 128)
    display.close()
