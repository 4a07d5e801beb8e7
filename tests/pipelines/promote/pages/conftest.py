"""A promotion to report, from synthetic records."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.spec import DataSpec
from pipelines.artifacts import history, json_object, metrics_file, paths, records, validation_report
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote.decision import Decision
from pipelines.promote.promotion import Promotion
from pipelines.promote.selection import Choice, Rules
from tests.pipelines import synthetic

VERDICTS = {
    "torch-cnn": "champion",
    "torch-cnn-int8": "rejected: not faster than in float32 at every batch size",
    "keras-cnn": "tied (p = 0.62), slower: 0.1250 ms",
}


def manifest_of(one: CandidateRecord) -> dict[str, Any]:
    """What champion.json has about a graph."""
    return {
        "name": one.name,
        "version": "7",
        "model": {"file": f"{one.sha256}.onnx", "sha256": one.sha256, "bytes": 3000},
        "spec": synthetic.SPEC.to_dict(),
        "metrics": {**metrics_file.flatten(one.metrics), "temperature": 0.8},
        "provenance": {
            "run_id": "r1",
            "git_commit": synthetic.COMMIT,
            "git_dirty": True,
            "data_sha256": synthetic.DATA,
            "created": "2026-11-29T07:17:29+00:00",
        },
    }


@pytest.fixture
def promotion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promotion:
    """torch-cnn, with its int8 graph, and keras-cnn on images of digits."""
    settings = synthetic.enter(tmp_path, monkeypatch)
    for name in ("torch-cnn", "keras-cnn"):
        synthetic.write_candidate(name)
    synthetic.write_int8("torch-cnn")
    synthetic.write_metrics("torch-cnn", 0.97, p50_ms=0.125, int8_accuracy=0.96, int8_p50_ms=0.2, faster=False)
    synthetic.write_metrics("keras-cnn", 0.96, p50_ms=0.25)
    candidates = [record for name in ("torch-cnn", "keras-cnn") for record in records.read(name)]
    choice = Choice("torch-cnn", "torch-cnn", "torch-cnn has the best validation accuracy", VERDICTS, ())
    return Promotion(
        candidates,
        choice,
        Decision(True, "there was no champion to compare it with"),
        Rules(settings.promote, "accuracy", "accuracy"),
        manifest_of(candidates[0]),
        {name: history.read(paths.checkpoint(name) / history.FILE) for name in ("torch-cnn", "keras-cnn")},
        {name: json_object.read(paths.errors(name)) for name in ("torch-cnn", "keras-cnn")},
        validation_report.read(),
        synthetic.SPEC,
    )


HOSTILE = "</script><img src=http://example.org/x onerror=alert(1)> |`*"  # the name of a column and of a category


@pytest.fixture
def houses(promotion: Promotion) -> Promotion:
    """The same for a regression of a table, with names that would be markup."""
    spec = DataSpec(
        "houses", "regression", "tabular", (2,), "float32", (), "price", ("size", HOSTILE), (1.0, 0.0), (1.0, 1.0),
        ((), ("red", HOSTILE)), (None, -1.0),
    )  # fmt: skip
    candidates = [_of_regression(one) for one in promotion.candidates]
    worst = [{"row": 3, "predicted": 12.5, "actual": 99.25, "features": {"size": None, HOSTILE: "red"}}]
    data = {
        "name": "houses", "data_sha256": synthetic.DATA, "examples": {"train": 70, "validation": 15, "test": 15},
        "target": {split: {"min": 1.0, "max": 9.0, "mean": 5.0, "std": 2.0} for split in ("train", "test")},
        "missing": {"train": {"size": 3}, "test": {}}, "duplicates": {"train/test": 2},
    }  # fmt: skip
    return replace(
        promotion,
        candidates=candidates,
        rules=Rules(promotion.rules.config, "r2", "r2"),
        manifest={**manifest_of(candidates[0]), "spec": spec.to_dict()},
        errors={name: {"examples": 15, "misclassified": None, "worst": worst} for name in promotion.errors},
        data=data,
        data_spec=spec,
    )


def _of_regression(one: CandidateRecord) -> CandidateRecord:
    test: Mapping[str, Any] = {
        "r2": 0.9,
        "r2_low": 0.8,
        "r2_high": 0.95,
        "mae": 12345.6,
        "mae_low": 1.0,
        "mae_high": 2.0,
    }
    metrics = {**one.metrics, "validation": {"r2": 0.91, "mae": 2.0}, "test": test}
    return replace(one, metrics=metrics, parity={**one.parity, "temperature": None})
