"""The outputs of the whole pipeline, and what a change of its workspace leads to."""

import json
import os
import signal
import subprocess
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import onnxruntime
import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.spec import DataSpec
from models.training.batches import Split, TrainingData, evenly_spaced
from pipelines import registry, rollback
from pipelines.artifacts import paths, split_files
from pipelines.artifacts.hashing import hash_files
from pipelines.config import params
from pipelines.doctor import mlflow_store
from pipelines.execution.candidate import Candidate
from pipelines.export import __main__ as export
from pipelines.tracking import location, model_registry, relocation
from pipelines.train import __main__ as train
from tests.pipelines.workspace import assert_one_error_line, run_main
from tests.serving.conftest import make_local
from tests.tiny_pipeline import CANDIDATES, Workspace

STAGES = ("train", "export", "evaluate")  # of each candidate
PER_EPOCH = {
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "examples_per_second",
    "gradient_norm",
}


@pytest.fixture
def local_store(copy: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy whose store is that of the working directory and names artifacts in the copy."""
    monkeypatch.chdir(copy.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    # MLflow remembers the artifact folder of each run; in this process it would be that of the original.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    relocation.main()
    return copy


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_every_stage_ran_in_order(pipeline):
    ran = stages_run((pipeline.root / ".dvc" / "tmp" / "repro").read_text("utf-8"))
    candidates = [f"{stage}@{name}" for stage in STAGES for name in CANDIDATES]
    assert ran[:3] == ["check", "load", "prepare"]
    assert sorted(ran[3:-1]) == sorted(candidates)
    assert ran[-1] == "promote"


def test_a_second_run_does_nothing(pipeline):
    done = pipeline.run("dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == []
    assert "Data and pipelines are up to date." in done.stdout


def test_the_champion_bundle_is_whole(pipeline):
    champion = pipeline.read("artifacts/champion/champion.json")
    name, file = champion["name"].removesuffix("-int8"), champion["model"]["file"]
    assert name in CANDIDATES
    assert sorted(pipeline.files("artifacts/champion")) == sorted(
        ["artifacts/champion/champion.json", f"artifacts/champion/{file}"]
    )
    graph = "model.int8.onnx" if champion["name"].endswith("-int8") else "model.onnx"
    proved = pipeline.read(f"artifacts/exports/{name}/parity.json")["files"][graph]["sha256"]
    assert file == f"{proved}.onnx"
    assert hash_files([pipeline.root / "artifacts" / "champion" / file]) == champion["model"]["sha256"] == proved
    validation = pipeline.read("artifacts/data/report/validation.json")
    run = pipeline.run_of(name)
    assert champion["provenance"]["run_id"] == run.info.run_id
    assert champion["provenance"]["data_sha256"] == validation["data_sha256"]
    assert champion["provenance"]["git_commit"] == pipeline.run("git", "rev-parse", "HEAD").stdout.strip()
    assert champion["provenance"]["git_dirty"] is False


def test_the_champion_answers_raw_pixels_with_what_was_recorded(pipeline):
    champion = pipeline.read("artifacts/champion/champion.json")
    spec = DataSpec.read(pipeline.root / "artifacts" / "data" / "spec.json")
    session = onnxruntime.InferenceSession(pipeline.root / "artifacts" / "champion" / champion["model"]["file"])
    inputs = np.array(champion["example"]["inputs"], np.uint8)
    validation = Split(*split_files.read(pipeline.root / "artifacts/data/validation"))
    np.testing.assert_array_equal(inputs, evenly_spaced(validation, len(inputs)).inputs)
    outputs = session.run([spec.output_name], {spec.input_name: inputs})[0]
    np.testing.assert_array_equal(outputs, np.array(champion["example"]["outputs"], np.float32))


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_one_temperature_is_in_every_file_and_recorded(pipeline, candidate):
    proof, metrics = (pipeline.read(f"artifacts/{path}") for path in (
        f"exports/{candidate}/parity.json", f"metrics/{candidate}.json"))  # fmt: skip
    temperature = proof["temperature"]
    assert temperature not in (None, 1.0)
    assert all(file["max_absolute_difference"] < 1e-4 for name, file in proof["files"].items() if "int8" not in name)
    assert metrics["temperature"] == metrics["int8"]["temperature"] == temperature
    errors = {name: metrics["test"][name] for name in ("calibration_error", "calibration_error_uncalibrated")}
    assert errors["calibration_error"] != errors["calibration_error_uncalibrated"]
    logged = pipeline.run_of(candidate).data.metrics
    assert {name: logged[f"test/{name}"] for name in errors} == errors
    assert logged["temperature"] == temperature
    assert f"{temperature:.4f}" in (pipeline.root / "artifacts" / "report.md").read_text("utf-8")


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_graphs_of_the_twins_are_used_alike(pipeline, candidate):
    session = onnxruntime.InferenceSession(pipeline.root / "artifacts" / "exports" / candidate / "model.onnx")
    puts = [(put.name, put.type, put.shape) for put in (*session.get_inputs(), *session.get_outputs())]
    assert puts == [
        ("image", "tensor(uint8)", ["N", 8, 8, 1]),
        ("probabilities", "tensor(float)", ["N", 10]),
    ]


def test_the_report_names_all_candidates_and_its_links_lead_somewhere(pipeline):
    report = (pipeline.root / "artifacts" / "report.md").read_text("utf-8")
    assert all(name in report for name in CANDIDATES)
    links = [part.split(")")[0] for part in report.split("](")[1:]]
    assert links
    assert all((pipeline.root / "artifacts" / link).is_file() for link in links)


def test_dvc_shows_every_plot(copy, tmp_path):
    done = copy.run("dvc", "plots", "show", "--json", "-o", str(tmp_path / "plots"))
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert not shown.get("errors")
    drawn = {name for name, entries in shown["data"].items() if entries}
    curves = {"Validation loss", "Validation accuracy, or mean absolute error of a regression", "Training loss"}
    files = {name for name in copy.files("artifacts/plots") if name != "artifacts/plots/learning_curves.csv"}
    assert drawn >= curves | files


def test_dvc_compares_the_numbers_of_every_candidate(copy):
    for command in (["add", "--force", "dvc.lock"], ["commit", "--quiet", "--no-verify", "-m", "lock"]):
        assert copy.run("git", *command).returncode == 0
    summary = copy.read("artifacts/metrics.json")
    for name in CANDIDATES:
        summary[name] = {key: value + 1 for key, value in summary[name].items()}
    (copy.root / "artifacts" / "metrics.json").write_text(json.dumps(summary), "utf-8")
    copy.change({"train.learning_rate": 0.02})
    done = copy.run("dvc", "exp", "diff", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["params"]["params.yaml"]["train.learning_rate"]["new"] == 0.02
    expected = {f"{name}.{key}" for name in CANDIDATES for key in ("validation", "test", "p50_ms")}
    assert set(found["metrics"]["artifacts/metrics.json"]) == expected


def test_the_reports_show_this_champion(pipeline):
    champion, artifacts = pipeline.read("artifacts/champion/champion.json"), pipeline.root / "artifacts"
    for name in ("report.html", "model-card.md"):
        page = (artifacts / name).read_text("utf-8")
        assert champion["model"]["sha256"] in page
        assert champion["provenance"]["run_id"] in page
    assert "data:image/png;base64," in (artifacts / "report.html").read_text("utf-8")
    assert ModelCard(page).data.pipeline_tag == "image-classification"


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_run_has_metrics_of_each_epoch_and_of_the_graph(pipeline, candidate):
    run = pipeline.run_of(candidate)
    assert (run.info.status, run.info.run_name.partition(" ")[0]) == ("FINISHED", candidate)
    for name in PER_EPOCH:
        points = pipeline.client.get_metric_history(run.info.run_id, f"epoch/{name}")
        assert [point.step for point in points] == [1, 2, 3], name
    recorded = pipeline.read(f"artifacts/metrics/{candidate}.json")
    assert run.data.metrics["test/accuracy"] == recorded["test"]["accuracy"]
    assert run.data.metrics["latency/batch_1/p50_ms"] == recorded["latency"]["batch_1"]["p50_ms"]
    assert any(name.startswith("system/") for name in run.data.metrics)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_epoch_of_the_stored_weights_is_recorded(pipeline, candidate):
    record = pipeline.read(f"artifacts/checkpoints/{candidate}/run.json")
    assert (record["epochs"], record["stored_epoch"]) == (3, 3)
    assert record["params"]["cnn"]["dense"] == 16
    assert record["versions"][candidate.split("-")[0]] == version(candidate.split("-")[0])
    metrics = pipeline.run_of(candidate).data.metrics
    assert {name: metrics[name] for name in ("best_epoch", "stored_epoch")} == {
        name: record[name] for name in ("best_epoch", "stored_epoch")
    }


def test_tensorboard_shows_the_same_of_both_twins(pipeline):
    tags = []
    for candidate in CANDIDATES:
        found = EventAccumulator(str(pipeline.root / "artifacts" / "tensorboard" / candidate))
        found.Reload()
        kinds = found.Tags()
        tags.append({*kinds["scalars"], *kinds["histograms"], *kinds["images"], *kinds["tensors"]})
        assert kinds["graph"]
    assert tags[0] == tags[1]
    assert {f"epoch/{name}" for name in PER_EPOCH} <= tags[0]
    assert {"weights/conv_1/kernel", "gradients/conv_1/kernel", "training images"} <= tags[0]


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_a_few_numbers_of_each_layer_are_in_the_run_and_in_a_table(pipeline, candidate):
    rows = (pipeline.root / "artifacts" / "checkpoints" / candidate / "layers.csv").read_text("utf-8").splitlines()
    run = pipeline.run_of(candidate)
    for name in ("gradient_norm/conv_1", "std/activation_1", "dead/activation", "mean/logits"):
        points = pipeline.client.get_metric_history(run.info.run_id, f"layers/{name}")
        assert [point.step for point in points] == [1, 2, 3]
        assert f"1,{name.replace('/', ',')},{points[0].value}" in rows
    assert len([name for name in run.data.metrics if name.startswith("layers/")]) < 30


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_run_has_parameters_data_and_tags(pipeline, candidate):
    run = pipeline.run_of(candidate)
    values = YAML(typ="safe", pure=True).load(pipeline.root / "params.yaml")
    for section in ("data", "prepare", "train"):
        for name, value in values[section].items():
            if not isinstance(value, dict):
                assert run.data.params[f"{section}.{name}"] == str(value)
    assert (run.data.params["cnn.dense"], run.data.params["cnn.dropout"]) == ("16", "0.3")
    inputs = {found.tags[0].value: found.dataset for found in run.inputs.dataset_inputs}
    data = pipeline.read("artifacts/data/report/validation.json")["data_sha256"]
    splits = {name: pipeline.root / "artifacts" / "data" / name for name in ("train", "validation", "test")}
    digests = {name: hash_files([folder / "inputs.npy", folder / "targets.npy"]) for name, folder in splits.items()}
    assert {name: found.digest for name, found in inputs.items()} == {
        name: hash_[:12] for name, hash_ in digests.items()
    }
    assert {found.data.tags["pipeline_run"] for found in pipeline.runs()} == {run.data.tags["pipeline_run"]}
    framework, architecture = candidate.split("-")
    expected = {
        "framework": framework,
        "architecture": architecture,
        "git_commit": pipeline.run("git", "rev-parse", "HEAD").stdout.strip(),
        "git_dirty": "false",
        "data_sha256": data,
        "device": "cpu",
        "provider": "CPUExecutionProvider",
    }
    assert {name: run.data.tags.get(name) for name in expected} == expected


@pytest.mark.parametrize(("candidate", "file"), [("torch-cnn", "data/model.pt2"), ("keras-cnn", "data/model.keras")])
def test_the_native_model_has_signature_and_example_and_no_pickle(pipeline, candidate, file):
    folder = Path(*logged_models(pipeline, candidate, "native"))
    found = mlflow.models.Model.load(str(folder))
    assert (found.signature.inputs.input_names(), found.signature.outputs.input_names()) == (
        ["image"],
        ["probabilities"],
    )
    assert found.saved_input_example_info is not None
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert file in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pth", ".pt"))]


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_native_model_answers_as_the_exported_graph(pipeline, candidate):
    (folder,) = logged_models(pipeline, candidate, "native")
    images = np.array(split_files.read(pipeline.root / "artifacts" / "data" / "test")[0][:7])
    session = onnxruntime.InferenceSession(pipeline.root / "artifacts" / "exports" / candidate / "model.onnx")
    expected = session.run(["probabilities"], {"image": images})[0]
    np.testing.assert_allclose(mlflow.pyfunc.load_model(folder).predict(images), expected, atol=1e-5)


def test_the_registered_model_answers_as_the_bundle(pipeline):
    champion = pipeline.read("artifacts/champion/champion.json")
    (folder,) = logged_models(pipeline, champion["name"].removesuffix("-int8"), "onnx")
    answers = mlflow.pyfunc.load_model(folder).predict(np.array(champion["example"]["inputs"], np.uint8))
    np.testing.assert_array_equal(answers, np.array(champion["example"]["outputs"], np.float32))


def logged_models(workspace: Workspace, candidate: str, kind: str) -> list[str]:
    """The folders of the models of one kind that the run of a candidate has."""
    run = workspace.run_of(candidate)
    return [
        model.artifact_location.removeprefix("file://")
        for model in workspace.client.search_logged_models([run.info.experiment_id])
        if (model.source_run_id, model.name.rpartition("-")[2]) == (run.info.run_id, kind)
    ]


def test_the_registered_model_is_the_champion(pipeline):
    champion = pipeline.read("artifacts/champion/champion.json")
    version = pipeline.client.get_model_version_by_alias("tandem", "champion")
    assert str(version.version) == champion["version"]
    assert version.run_id == champion["provenance"]["run_id"]
    assert version.tags["sha256"] == champion["model"]["sha256"]
    assert version.tags["data_sha256"] == champion["provenance"]["data_sha256"]


def test_no_stage_imported_a_framework_that_it_does_not_use(pipeline):
    """A reader process of `export` checks itself, see `pipelines.export.reader`."""
    lines = (pipeline.root / ".dvc" / "tmp" / "imports").read_text("utf-8").splitlines()
    seen = {}
    for argv, names in map(json.loads, lines):
        script, frameworks = Path(argv[0]), set(names) & {"torch", "tensorflow", "keras"}
        stage = script.parent.name if script.stem == "__main__" else script.stem
        if "pipelines" in argv[0]:
            seen[stage, *argv[2:3]] = frameworks
    neither = {("check",), ("load",), ("prepare",), ("promote",)} | {("evaluate", name) for name in ("torch", "keras")}
    assert {key: found for key, found in seen.items() if key in neither and found} == {}
    for stage in ("train", "export"):
        assert seen[stage, "torch"] == {"torch"}
        assert seen[stage, "keras"] == {"tensorflow", "keras"}
    assert len(seen) == len(neither) + 4


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("models.cnn.dense", 24, {f"{stage}@{name}" for stage in ("train", "export") for name in CANDIDATES}),
        ("models.mlp.hidden", [8], set()),
        ("train.learning_rate", 0.02, {f"train@{name}" for name in CANDIDATES}),
        ("export.calibration", "none", {f"export@{name}" for name in CANDIDATES}),
        ("evaluate.top_k", 2, {f"evaluate@{name}" for name in CANDIDATES}),
        ("promote.significance", 0.01, {"promote"}),
        ("prepare.seed", 1, {"prepare"}),
    ],
)
def test_a_parameter_concerns_the_stages_that_read_it(copy, key, value, expected):
    copy.change({key: value})
    assert copy.changed() == expected | {"check"}


def test_code_of_one_room_concerns_its_framework(copy):
    with (copy.root / "models" / "torch" / "fit.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert copy.changed() == {"train@torch-cnn"}


def test_where_no_candidate_passes_the_old_champion_stays(copy):
    before = copy.files("artifacts/champion")
    copy.change({"promote.minimum_accuracy": 1.0})
    done = copy.run("dvc", "repro")
    assert done.returncode != 0
    assert "no candidate passes" in done.stderr
    assert stages_run(done.stdout) == ["check", "promote"]
    assert copy.files("artifacts/champion") == before


def test_a_candidate_that_is_no_longer_asked_for_is_not_looked_at(copy):
    copy.change({"frameworks": ["torch"]})
    done = copy.run("dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == ["check", "promote"]
    assert {name.partition("-")[0] for name in copy.read("artifacts/metrics.json")} == {"champion", "torch"}
    table = done.stdout.partition("verdict")[2].partition("validation accuracy")[0].splitlines()
    rows = [line for line in table if "champion, kept" not in line]  # the champion may be one of Keras
    assert not any(line.startswith("keras-") for line in rows), table


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_ctrl_c_marks_the_run_killed_and_leaves_no_half_written_checkpoint(copy, candidate):
    copy.change({"train.epochs": 100_000})
    code, output = interrupted(copy, f"{candidate} epoch 1/", "dvc", "repro", "--single-item", f"train@{candidate}")
    assert code != 0
    assert "interrupted" in output
    assert "Traceback" not in output
    run = copy.runs()[0]
    assert (run.info.run_name.partition(" ")[0], run.info.status) == (candidate, "KILLED")
    assert run.data.metrics["epoch/train_loss"] > 0
    for folder in ("checkpoints", "tensorboard"):
        assert not list((copy.root / "artifacts" / folder).glob(f"*{candidate}*"))
    assert f"train@{candidate}" in copy.changed()  # DVC has let go of its lock


def interrupted(workspace: Workspace, sign: str, *command: str) -> tuple[int, str]:
    """Status and output of a command that gets Ctrl-C, as a terminal sends it, when `sign` has been printed."""
    process = subprocess.Popen(
        command, cwd=workspace.root, env=workspace.environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = []
    assert process.stdout
    for line in process.stdout:
        if sign in line and not any(sign in earlier for earlier in lines):
            os.killpg(process.pid, signal.SIGINT)
        lines.append(line)
    return process.wait(), "".join(lines)


def test_a_loss_that_is_no_number_is_told_and_the_run_keeps_what_it_has(copy, monkeypatch):
    before = copy.files("artifacts/checkpoints/torch-cnn")
    copy.change({"train.learning_rate": 1e30, "train.optimizer": "sgd", "train.gradient_clip": None})
    monkeypatch.chdir(copy.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    done = run_main(train.main, "--framework", "torch", "--architecture", "cnn")
    assert_one_error_line(done, "in epoch 1", "train.learning_rate = 1e+30 or set train.gradient_clip")
    run = copy.runs()[0]
    assert (run.info.run_name.partition(" ")[0], run.info.status) == ("torch-cnn", "FAILED")
    assert run.data.params["train.learning_rate"] == "1e+30"
    assert "epoch/learning_rate" in run.data.metrics
    assert copy.files("artifacts/checkpoints/torch-cnn") == before


def test_a_store_that_cannot_be_reached_is_told_before_training(copy):
    before = copy.files("artifacts/checkpoints")
    done = copy.stage("train", "torch-cnn", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert_one_error_line(done, "MLFLOW_TRACKING_URI = http://127.0.0.1:9", "not reachable")
    assert done.stdout == ""
    assert copy.files("artifacts/checkpoints") == before


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_same_parameters_and_seed_give_the_same_graph_bit_for_bit(pipeline, monkeypatch, candidate):
    """The pipeline trained and exported it in processes of its own, here the other framework is in the same process."""
    monkeypatch.chdir(pipeline.root)
    framework, architecture = candidate.split("-")
    recorded = pipeline.read(f"artifacts/exports/{candidate}/parity.json")["files"]["model.onnx"]["sha256"]
    assert train_and_export(framework, architecture) == recorded


def train_and_export(framework: str, architecture: str) -> str:
    """The SHA-256 of the ONNX file, trained on the data of the working directory, without MLflow."""
    chosen, settings, spec = Candidate(framework, architecture), params.read(), DataSpec.read(paths.SPEC)
    device = chosen.framework_module("device").choose(settings.train)
    model = chosen.architecture_module().build(spec, settings.models.of(architecture))
    data = TrainingData(*(Split(*split_files.read(paths.split(name))) for name in ("train", "validation")), spec)
    fit = chosen.framework_module("fit").fit
    fit(model, data, settings.train, device, lambda epoch, learner: None, lambda step: None)
    temperature = export.fit_temperature(chosen.framework_module("export").predictor(model, spec), spec)
    export.divide_logits(chosen, model, temperature or 1.0)
    with TemporaryDirectory() as folder:
        chosen.framework_module("export").export(model, spec, Path(folder))
        return hash_files([Path(folder) / "model.onnx"])


def test_a_changed_file_of_the_user_is_detected(copy, tmp_path):
    table = tmp_path / "houses.csv"
    table.write_text("size,price\n" + "".join(f"{row},{row / 7}\n" for row in range(20)))
    copy.change({"data.source": "csv", "data.path": str(table), "data.target": "price", "architectures": ["mlp"]})
    assert copy.run("dvc", "repro", "load").returncode == 0
    assert "load" not in copy.changed()
    table.write_text(table.read_text() + "20,3\n")
    assert "load" in copy.changed()


def test_a_champion_that_git_or_an_experiment_replaces_is_reported_with_what_resolves_it(local_store):
    workspace = local_store
    assert workspace.run("git", "add", "--force", "dvc.lock").returncode == 0
    assert workspace.run("git", "commit", "--quiet", "--no-verify", "-m", "lock").returncode == 0
    first = workspace.read("artifacts/champion/champion.json")["name"].partition("-")[0]
    (other,) = {"torch", "keras"} - {first}
    changes = (f"frameworks=[{other}]", "promote.replace=always")
    run(workspace, "dvc", "exp", "run", "--name", "other", *(word for change in changes for word in ("-S", change)))
    assert agreement(workspace) == ("2", "2", "ok")

    run(workspace, "git", "checkout", "--quiet", ".")
    run(workspace, "dvc", "checkout")
    assert agreement(workspace) == ("1", "2", "warning")
    line = str(mlflow_store.check_champion())
    assert "artifacts/champion has version 1 (" in line
    assert "`python -m pipelines.registry models:/tandem@champion artifacts/champion` restores version 2" in line
    run(workspace, "dvc", "exp", "apply", "other")
    assert agreement(workspace) == ("2", "2", "ok")

    assert run_main(rollback.main, "--reason", "wrong for 5").returncode == 0
    assert agreement(workspace) == ("1", "1", "ok")
    # Begins with a checkout of the outputs in dvc.lock; then the only candidate is rejected.
    failed = workspace.run("dvc", "exp", "run", "-S", "promote.minimum_gain=0.01")
    assert "rolled back as version 2: wrong for 5" in failed.stderr
    assert agreement(workspace) == ("1", "1", "ok")
    run(workspace, "dvc", "exp", "apply", "other")
    assert agreement(workspace) == ("2", "1", "warning")
    run_main(registry.main, "models:/tandem@champion", "artifacts/champion")
    assert agreement(workspace) == ("1", "1", "ok")


def run(workspace: Workspace, *command: str) -> str:
    done = workspace.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def agreement(workspace: Workspace) -> tuple[str, str, str]:
    """The version that a service has, that of the registry, and the status of the comparison."""
    model = make_local(workspace.root / "artifacts" / "champion").get("/model").json()
    return (
        model["version"],
        model_registry.get_version("tandem", "champion").version,
        mlflow_store.check_champion().status,
    )


def test_a_moved_folder_keeps_its_runs_and_new_ones_are_within_it(local_store, tmp_path, monkeypatch):
    earlier, former = local_store.run_of("torch-cnn"), local_store.root
    monkeypatch.chdir(tmp_path)
    moved = Workspace(former.rename(tmp_path / "elsewhere"))
    moved.change({"frameworks": ["torch"], "train.epochs": 1})
    output = run(moved, "dvc", "repro")
    assert "the folder was moved or copied" in output
    assert stages_run(output) == ["check", *(f"{stage}@torch-cnn" for stage in STAGES), "promote"]
    assert list(tmp_path.iterdir()) == [moved.root]
    monkeypatch.chdir(moved.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    mlflow.set_tracking_uri(location.uri())
    new = moved.run_of("torch-cnn")
    assert new.info.run_id != earlier.info.run_id
    for run_id in (earlier.info.run_id, new.info.run_id):
        file = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="history.csv")
        stored = moved.root / "mlartifacts" / run_id / "artifacts" / "history.csv"
        assert Path(file).read_bytes() == stored.read_bytes()
    champion = moved.read("artifacts/champion/champion.json")
    answers = mlflow.pyfunc.load_model("models:/tandem@champion").predict(np.uint8(champion["example"]["inputs"]))
    np.testing.assert_array_equal(answers, np.float32(champion["example"]["outputs"]))
