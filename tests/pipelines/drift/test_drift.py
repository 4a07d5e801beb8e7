"""`python -m pipelines.drift` on the log of a service that really answered, in a workspace with a champion."""

import asyncio
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from models.errors import InputError
from models.onnx import inference
from models.onnx.session import open_session
from pipelines.artifacts import bundle, paths, records
from pipelines.config import params
from pipelines.drift import __main__ as drift
from pipelines.drift import report, statistical_tests
from serving.application import Application
from serving.monitoring.metrics import Metrics
from serving.settings import Settings
from serving.worker import Worker
from tests.browser import NO_BROWSER, chromium, emulate
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line, run_main, run_stage

CHANGES = {"frameworks": ["torch"], "architectures": ["cnn"]}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Parameters of a workspace with a champion; the working directory is that workspace."""
    settings = synthetic.enter(tmp_path, monkeypatch, CHANGES)
    synthetic.write_candidate("torch-cnn")
    write_champion()
    return settings


def write_champion():
    model = records.model("torch-cnn")
    example = np.load(paths.split("validation") / "inputs.npy")[:2]
    outputs = inference.run(open_session(model, "cpu"), example)
    record = {
        "name": "torch-cnn",
        "version": "1",
        "spec": synthetic.SPEC.to_dict(),
        "metrics": {},
        "provenance": {
            **{"run_id": "r1", "git_commit": synthetic.COMMIT, "git_dirty": False},
            **{"data_sha256": synthetic.DATA, "created": "2026-12-01T00:00:00+00:00"},
        },
        "example": {"inputs": example.tolist(), "outputs": outputs.tolist()},
    }
    shutil.rmtree(paths.CHAMPION, ignore_errors=True)
    paths.CHAMPION.mkdir()
    bundle.build(record, model, hashlib.sha256(model.read_bytes()).hexdigest(), paths.CHAMPION)


def compare(settings):
    return drift.compare(Path("log"), settings.drift, settings.evaluate.device)


def serve(images, folder="log"):
    """Have the champion answer, and log, images [N, 8, 8, 1] in requests of 10."""
    worker = Worker(Settings(champion=paths.CHAMPION, prediction_log=folder), Metrics(CollectorRegistry()))
    worker.ready = True
    transport = httpx.ASGITransport(Application(None, worker.settings, lambda: worker))

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for start in range(0, len(images), 10):
                body = {"inputs": images[start : start + 10].tolist()}
                (await client.post("/predict", json=body)).raise_for_status()
        await worker.prediction_log.close()

    asyncio.run(ask())


def usual():
    """Images like those of training, which were not trained on."""
    return synthetic.digits()["test"][0]


def test_usual_traffic_is_no_drift(settings):
    generator = np.random.default_rng(0)
    every = np.concatenate([images for images, _ in synthetic.digits().values()])
    serve(generator.permutation(every)[:600])
    done = run_stage("drift", Path.cwd(), "--log", "log")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no drift in 9 columns; report: artifacts/drift/report.html" in done.stdout


def test_other_images_are_drift_and_the_report_shows_it_without_any_other_file(settings, monkeypatch):
    serve(255 - usual())
    monkeypatch.setenv("TANDEM_PREDICTION_LOG", "log")
    done = run_main(drift.main)
    assert (done.returncode, done.stderr) == (2, "")
    assert re.search(r"^mean +Kolmogorov-Smirnov .* drift$", done.stdout, re.MULTILINE)
    assert [path.name for path in paths.DRIFT_REPORT.parent.iterdir()] == ["report.html"]
    page = paths.DRIFT_REPORT.read_text("utf-8")
    assert "<h1>Drift in " in page
    assert 'src="data:image/png;base64,iVBOR' in page
    assert not re.search(r"https?://|<script|<link|url\(", page)


@NO_BROWSER
def test_only_the_tables_of_the_page_scroll_on_a_narrow_screen(tmp_path):
    names = ("a" * 60, "b" * 60)
    results = [statistical_tests.ColumnDrift(name, "Kolmogorov-Smirnov", 0.5, 0.001, True) for name in names]
    file = tmp_path / "report.html"
    file.write_text(report.page(results, {"training data": "SHA-256 " + "0" * 64}, b""), "utf-8")
    with chromium(tmp_path / "browser") as browser:
        emulate(browser, 390)
        browser.get(file.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_the_heading_has_the_names_of_the_columns_as_they_are():
    results = [statistical_tests.ColumnDrift("MonthlyIncome", "Kolmogorov-Smirnov", 0.5, 0.001, True)]
    assert "<h1>Drift in 1 of 1 column: MonthlyIncome</h1>" in report.page(results, {}, b"")


def test_predictions_drift_where_the_inputs_are_of_few_kinds(settings):
    images, targets = synthetic.digits()["train"]
    serve(images[targets < 3])
    results = {each.name: each for each in compare(settings)}
    assert results["predicted label"].drifted
    assert results["predicted label"].distance > 0.6


def test_answers_that_are_nearly_certain_are_no_drift_though_the_log_rounds_them(settings):
    shutil.rmtree(paths.exports("torch-cnn"))
    synthetic.write_candidate("torch-cnn", strength=1000.0)
    write_champion()
    serve(synthetic.digits()["validation"][0])
    results = {each.name: each for each in compare(settings)}
    assert '"probabilities":[1.0,0.0,' in next(Path("log").iterdir()).read_text("utf-8")
    assert results["confidence"].distance == 0
    assert not results["confidence"].drifted


def test_only_the_newest_rows_are_compared(settings):
    serve(255 - usual())
    generator = np.random.default_rng(0)
    every = np.concatenate([images for images, _ in synthetic.digits().values()])
    serve(generator.permutation(every)[:600])
    newest = settings.model_copy(update={"drift": settings.drift.model_copy(update={"rows": 600})})
    assert not any(each.drifted for each in compare(newest))


def test_lines_of_other_models_and_broken_ones_are_passed_over_and_counted(settings):
    serve(usual())
    [file] = Path("log").iterdir()
    lines = file.read_text("utf-8").splitlines()
    other = json.dumps(json.loads(lines[0]) | {"sha256": "0" * 64})
    short = json.dumps(json.loads(lines[0]) | {"inputs": [1.0]})
    file.write_text("\n".join([*lines, other, short, lines[0][:50]]), "utf-8")
    compare(settings)
    assert "1 line of other models, 2 unreadable" in paths.DRIFT_REPORT.read_text("utf-8")


def test_too_few_rows_say_nothing(settings):
    serve(usual()[:50])
    assert_one_error_line(run_main(drift.main, "--log", "log"), "log: 50 examples", "drift.minimum_rows = 200")
    assert not paths.DRIFT_REPORT.exists()


def test_a_log_that_is_not_there(settings):
    done = run_stage("drift", Path.cwd(), "--log", "nothing")
    assert_one_error_line(done, "nothing: contains no prediction log", "TANDEM_PREDICTION_LOG")
    assert_one_error_line(run_main(drift.main), "give --log FOLDER")
    assert_one_error_line(run_main(drift.main, "--logs", "x"), "allowed: --log FOLDER")


def test_no_champion(settings):
    (paths.CHAMPION / "champion.json").unlink()
    assert_one_error_line(
        run_main(drift.main, "--log", "log"), "artifacts/champion/champion.json: not found; run `dvc repro`"
    )


def test_newer_data_than_the_champion_was_trained_on_are_mentioned(settings, capsys):
    serve(usual())
    synthetic.write_json(paths.DATA_REPORT / "validation.json", {"data_sha256": "e" * 64})
    assert len(compare(settings)) == 9
    assert "compared with data eeeeeeeeeeee in artifacts/data; the champion was tra" in capsys.readouterr().out


def test_data_of_another_kind_are_not_compared(settings):
    synthetic.write_json(paths.SPEC, synthetic.SPEC.to_dict() | {"labels": list("abcdefghij")})
    with pytest.raises(InputError, match=r"spec\.json: labels differ from those of the champion; run `dvc repro`"):
        compare(settings)


def test_numbers_that_are_missing_more_often_are_drift():
    numbers = {"mean": (0.0,), "std": (1.0,), "categories": ((),), "fill": (0.0,)}
    spec = replace(synthetic.SPEC, kind="tabular", shape=(1,), dtype="float32", features=("size",), **numbers)
    reference = np.random.default_rng(0).normal(size=1000)
    current = np.where(np.arange(1000) % 4, reference, np.nan)
    columns = list(drift._input_columns(spec, 0, "size", reference, current))
    assert [column.name for column in columns] == ["size", "size missing"]
    results = statistical_tests.compare(columns, params.read(REPOSITORY / "params.yaml").drift)
    assert [result.drifted for result in results] == [False, True]
    assert results[1].distance == 0.25
    assert [column.name for column in drift._input_columns(spec, 0, "size", reference, reference)] == ["size"]


@pytest.mark.parametrize("values", [[1e6], [2e7, 2e7 + 39], [-3e38, 3e38], [3e38], []], ids=str)
def test_numbers_of_every_size_have_bins(values):
    sample = np.array(values, np.float32)
    edges = report._edges(statistical_tests.ColumnSamples("x", sample, sample))
    assert (np.diff(edges) > 0).all()
    assert np.histogram(sample, edges)[0].sum() == len(values)
