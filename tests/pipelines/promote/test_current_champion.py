"""The stage `promote` where there is a champion already: in the registry, in the workspace, or different ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pytest

from models.errors import InputError
from models.onnx import inference
from models.onnx.session import open_session
from pipelines.artifacts import bundle, paths, records
from pipelines.artifacts.hashing import hash_files
from pipelines.promote import __main__ as promote
from pipelines.promote import comparison_plot, current_champion
from pipelines.promote.pages import html_report
from pipelines.tracking import model_registry, promotion_history
from tests.pipelines import synthetic

CHANGES = {"frameworks": ["torch"], "architectures": ["cnn"]}
WEAK, MIDDLE, STRONG = 0.001, 1.0, 10.0  # graphs that classify 209, 251 and 254 of 270 validation examples correctly


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Parameters of a workspace with one candidate; the working directory is that workspace."""
    return synthetic.enter(tmp_path, monkeypatch, CHANGES)


def promote_graph(settings, strength, accuracy, data=synthetic.DATA, **changes):
    """Run the stage with a graph, its recorded validation accuracy and the hash of its data."""
    shutil.rmtree(paths.exports("torch-cnn"), ignore_errors=True)
    synthetic.write_candidate("torch-cnn", strength=strength)
    record = paths.checkpoint("torch-cnn") / "run.json"
    synthetic.write_json(record, json.loads(record.read_text("utf-8")) | {"data_sha256": data})
    synthetic.write_metrics("torch-cnn", accuracy=accuracy)
    config = settings.promote.model_copy(update=changes)
    promote.promote(settings.candidates, config, "cpu", settings.tracking.experiment)


def champion():
    return json.loads((paths.CHAMPION / "champion.json").read_text("utf-8"))


def files():
    return {path.name: path.read_bytes() for path in paths.CHAMPION.iterdir()}


def registered():
    return model_registry.get_version("tandem", "champion")


def test_a_worse_one_is_rejected_with_the_reason_and_a_better_one_replaces_the_champion(settings, capsys):
    promote_graph(settings, STRONG, accuracy=0.97)
    before = files()
    promote_graph(settings, MIDDLE, accuracy=0.93)
    shown = capsys.readouterr().out
    reason = "torch-cnn is not better than the champion, version 1: validation accuracy 0.9296 against 0.9407 on the"
    assert sum(reason in line for line in shown.splitlines()) == 1
    assert "selected, but not better than the champion" in shown
    (row,) = [line for line in shown.splitlines() if line.startswith("torch-cnn, version 1 ")]
    assert row.split()[3:] == ["0.9407", "-", "-", "-", "-", "-", "champion,", "kept"]
    assert f"| {row.split('  ')[0]} | 0.9407" in " ".join(paths.REPORT.read_text("utf-8").split())
    assert "<td>champion, kept</td><td>0.9407</td>" in paths.HTML_REPORT.read_text("utf-8")
    assert reason in paths.REPORT.read_text("utf-8")
    assert paths.REPORT.read_text("utf-8").startswith("# Champion: torch-cnn, version 1 of")
    assert files() == before
    versions = model_registry.list_versions("tandem")
    assert [version.version for version in versions] == [registered().version] == ["1"]

    promote_graph(settings, MIDDLE, accuracy=1.0)
    assert (champion()["version"], registered().version, registered().tags["sha256"]) == (
        "2",
        "2",
        champion()["model"]["sha256"],
    )
    first, second = promotion_history.events(model_registry.list_versions("tandem"))
    assert (first.version, first.replaces, second.version, second.replaces) == ("1", None, "2", "1")
    assert "there was no champion to compare it with" in first.reason
    assert "torch-cnn is better than the champion, version 1: validation accuracy 1.0000 against 0.9" in second.reason
    assert first.time < second.time
    assert mlflow.MlflowClient().get_model_version("tandem", "2").description == second.reason


def test_plots_that_cannot_be_drawn_leave_the_champion_unchanged(settings, monkeypatch):
    promote_graph(settings, MIDDLE, accuracy=0.97)
    before = files()
    monkeypatch.setattr(comparison_plot, "draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        promote_graph(settings, STRONG, accuracy=1.0)
    assert (files(), registered().version) == (before, "1")


def test_a_second_run_writes_the_reports_that_the_first_one_could_not(settings, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(html_report, "page", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            promote_graph(settings, STRONG, accuracy=0.97)
    assert not paths.REPORT.exists()
    promote_graph(settings, STRONG, accuracy=0.97)
    assert paths.REPORT.read_text("utf-8").startswith("# Champion: torch-cnn, version 1 of")
    assert [version.version for version in model_registry.list_versions("tandem")] == [champion()["version"]] == ["1"]


def test_the_same_graph_is_no_event(settings, capsys):
    promote_graph(settings, STRONG, accuracy=0.97)
    before = files()
    promote_graph(settings, STRONG, accuracy=0.99)
    assert files() == before
    (version,) = model_registry.list_versions("tandem")
    assert len(promotion_history.events([version])) == 1
    assert "torch-cnn is the champion, version 1" in capsys.readouterr().out


def test_a_champion_that_is_not_good_enough_on_the_current_data_is_replaced(settings, capsys):
    promote_graph(settings, WEAK, accuracy=0.97)
    promote_graph(settings, MIDDLE, accuracy=0.93)
    assert champion()["version"] == "2"
    assert "version 1, does not pass the gates: validation accuracy 0.7741 < promote.min" in capsys.readouterr().out


def test_new_data_are_compared_without_the_examples_that_the_champion_was_trained_on(settings, capsys):
    promote_graph(settings, MIDDLE, accuracy=0.97)
    trained, targets = synthetic.digits()["train"]
    for name, values in (("inputs", trained), ("targets", targets)):
        file = paths.split("validation") / f"{name}.npy"
        np.save(file, np.concatenate([values[:100], np.load(file)[100:]]))
    promote_graph(settings, STRONG, accuracy=1.0, data="e" * 64)
    assert champion()["version"] == "2"
    assert "on the same 170 examples, which neither was trained on, p = " in capsys.readouterr().out
    for file in Path("mlartifacts").rglob("training_examples.npy"):
        file.unlink()
    promote_graph(settings, MIDDLE, accuracy=1.0)
    shown = capsys.readouterr().out
    assert "on the same 270 examples, some of which the champion may have been trained on, p = " in shown


def test_a_few_new_examples_do_not_fail_the_gate_of_the_champion(settings, capsys):
    promote_graph(settings, MIDDLE, accuracy=0.97)
    inputs, targets = synthetic.digits()["validation"]
    session = onnxruntime.InferenceSession(paths.CHAMPION / champion()["model"]["file"])
    wrong = np.flatnonzero(session.run(None, {"image": inputs})[0].argmax(axis=1) != targets)[:2]
    for name, values in zip(("inputs", "targets"), synthetic.digits()["train"], strict=True):
        file = paths.split("validation") / f"{name}.npy"
        changed = values[: len(targets)].copy()
        changed[wrong] = np.load(file)[wrong]
        np.save(file, changed)
    promote_graph(settings, STRONG, accuracy=1.0, data="e" * 64)
    assert champion()["version"] == "1"
    reason = "not significantly better than the champion, version 1: validation accuracy 1.0000 against 0.0000 on the"
    assert f"{reason} same 2 examples, which neither was trained on" in capsys.readouterr().out


def test_other_classes_are_not_compared(settings, capsys):
    promote_graph(settings, STRONG, accuracy=0.97)
    spec = json.loads(paths.SPEC.read_text("utf-8"))
    synthetic.write_json(paths.SPEC, spec | {"labels": list("abcdefghij")})
    promote_graph(settings, MIDDLE, accuracy=0.93)
    assert champion()["version"] == "2"
    reason = "the champion, version 1, was trained for other data, which differ in: labels"
    assert reason in capsys.readouterr().out
    assert reason in promotion_history.events(model_registry.list_versions("tandem"))[1].reason


def test_without_a_comparison_the_best_candidate_replaces_the_champion(settings, capsys):
    promote_graph(settings, STRONG, accuracy=0.97)
    promote_graph(settings, MIDDLE, accuracy=0.93, replace="always")
    assert champion()["version"] == registered().version == "2"
    reason = "torch-cnn is not compared with the champion, version 1: promote.replace = always"
    assert reason in capsys.readouterr().out  # also true in the copy of an experiment, which only has a challenger


def test_the_champion_of_a_workspace_whose_registry_is_new_is_compared_and_registered(settings, capsys):
    promote_graph(settings, MIDDLE, accuracy=0.97)
    promote_graph(settings, STRONG, accuracy=1.0)
    shutil.copy(synthetic.store(), "mlflow.db")
    capsys.readouterr()
    promote_graph(settings, MIDDLE, accuracy=0.93)
    shown = capsys.readouterr().out
    assert "promote: artifacts/champion has version 2 (" in shown
    assert "has no models:/tandem@champion\n" in shown
    assert "torch-cnn is not better than the champion, version 2: validation accuracy 0.9296 against 0.94" in shown
    assert champion()["version"] == registered().version == "1"
    assert registered().tags["sha256"] == champion()["model"]["sha256"]
    assert registered().run_id == champion()["provenance"]["run_id"]


def test_a_replaced_folder_is_reported_and_the_champion_of_the_registry_is_compared_and_restored(settings, capsys):
    promote_graph(settings, MIDDLE, accuracy=0.97)
    first = dict(files())
    promote_graph(settings, STRONG, accuracy=1.0)
    second = files()
    for name in second:
        (paths.CHAMPION / name).unlink()
    for name, content in first.items():
        (paths.CHAMPION / name).write_bytes(content)
    capsys.readouterr()
    promote_graph(settings, MIDDLE, accuracy=0.93)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("promote: ")]
    assert "artifacts/champion has version 1 (" in line
    assert "models:/tandem@champion is version 2 (" in line
    assert line.endswith("; version 2 is restored from the registry")
    assert files() == second


@pytest.mark.parametrize("name", ["champion.json", None])
def test_a_missing_bundle_is_restored_also_if_no_candidate_passes(settings, capsys, name):
    promote_graph(settings, STRONG, accuracy=1.0)
    before = files()
    if name:
        (paths.CHAMPION / name).unlink()
    else:
        shutil.rmtree(paths.CHAMPION)
    capsys.readouterr()
    with pytest.raises(InputError, match="no candidate passes the gates, so none is promoted"):
        promote_graph(settings, MIDDLE, accuracy=0.5)
    message = "promote: no bundle in artifacts/champion; version 1 is restored from the registry"
    assert capsys.readouterr().out.splitlines() == [message]
    assert files() == before


def test_a_champion_whose_bundle_is_lost_is_not_replaced(settings):
    promote_graph(settings, STRONG, accuracy=0.97)
    shutil.rmtree(paths.CHAMPION)
    shutil.rmtree("mlartifacts")
    with pytest.raises(InputError, match=r"cannot be compared: models:/tandem/1: .*; restore it, or remove the alias"):
        promote_graph(settings, MIDDLE, accuracy=1.0)
    assert registered().version == "1"


def test_an_experiment_that_is_not_better_has_the_champion_of_the_workspace(settings, monkeypatch, capsys):
    promote_graph(settings, STRONG, accuracy=0.97)
    before = files()
    copy = paths.ARTIFACTS.resolve().parent / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    shutil.copytree("artifacts", copy / "artifacts", ignore=shutil.ignore_patterns("champion"))
    monkeypatch.chdir(copy)
    promote_graph(settings, MIDDLE, accuracy=0.93)
    assert files() == before
    assert capsys.readouterr().out.splitlines()[-1].startswith("champion: ")
    promote_graph(settings, MIDDLE, accuracy=1.0)
    assert champion()["version"] == model_registry.get_version("tandem", "challenger").version == "2"
    assert registered().version == "1"
    assert len(promotion_history.events(model_registry.list_versions("tandem"))) == 1


EXAMPLE = synthetic.SPEC.example(2).tolist()
KEYS, ABSENT = ("name", "version", "spec", "metrics", "provenance", "example"), ...
UNUSABLE: list[dict[str, Any]] = [
    *({key: value} for key in KEYS for value in (None, ABSENT)),
    {"version": 1},
    {"provenance": {}},
    {"spec": synthetic.SPEC.to_dict() | {"shape": [8, 9, 1]}},
    {"example": {"inputs": EXAMPLE}},
    {"example": {"inputs": None, "outputs": None}},
    {"example": {"inputs": [], "outputs": []}},
    {"example": {"inputs": [[1]], "outputs": [[0.1] * 10]}},
    {"example": {"inputs": [["text"]], "outputs": [[0.1] * 10]}},
    {"example": {"inputs": [[300]], "outputs": [[0.1] * 10]}},
    {"example": {"inputs": EXAMPLE, "outputs": [[2.0] * 10] * 2}},
    {"example": {"inputs": EXAMPLE, "outputs": [[0.1], [0.1, 0.9]]}},
]


@pytest.mark.parametrize("change", UNUSABLE)
def test_a_bundle_that_cannot_be_compared_is_reported(tmp_path, monkeypatch, capsys, change):
    monkeypatch.chdir(tmp_path)
    synthetic.write_candidate("torch-cnn")
    graph = records.model("torch-cnn")
    provenance = {"run_id": "r1", "git_commit": "c1", "git_dirty": False, "data_sha256": "d1", "created": "2026-12-01"}
    outputs = inference.run(open_session(graph, "cpu"), synthetic.SPEC.example(2)).tolist()
    record = {"name": "torch-cnn", "version": "1", "spec": synthetic.SPEC.to_dict(), "metrics": {"a": 1}}
    record |= {"provenance": provenance, "example": {"inputs": EXAMPLE, "outputs": outputs}}
    paths.CHAMPION.mkdir(parents=True)
    bundle.build(record, graph, hash_files([graph]), paths.CHAMPION)
    monkeypatch.setattr(model_registry, "find_alias", lambda *_: None)
    with current_champion.opened("tandem") as current:
        assert current
    values = {key: value for key, value in (champion() | change).items() if value is not ABSENT}
    synthetic.write_json(paths.CHAMPION / "champion.json", values)
    capsys.readouterr()
    with current_champion.opened("tandem") as current:
        assert current is None
    lines = capsys.readouterr().out.splitlines()
    assert "promote: the bundle in artifacts/champion cannot be compared: " in lines[-1]
