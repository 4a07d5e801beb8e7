"""Whether what the service is asked has moved away from what it learned: `python -m pipelines.drift --log FOLDER`.

Not a stage of the graph: it reads a log that grows outside of it, whenever a person or a timer asks.
It ends with status 0 where there is no drift, 2 where there is, and 1 where that cannot be said.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tabulate import tabulate

from models import summary
from models.errors import InputError
from models.manifest import MANIFEST
from models.spec import UNKNOWN, DataSpec
from pipelines.artifacts import bundle, paths, split_files, validation_report
from pipelines.artifacts.hashing import require_sha256
from pipelines.cli import stage
from pipelines.config import params
from pipelines.config.params import Drift, Params
from pipelines.drift import prediction_log, report, statistical_tests
from pipelines.drift.prediction_log import Logged
from pipelines.drift.statistical_tests import Column, Finding
from pipelines.inference import onnx_runtime

DRIFTED = 2
VARIABLE = "TANDEM_PREDICTION_LOG"


class Parser(argparse.ArgumentParser):
    """The standard library's, but for its status 2, which here means drift."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{message}; allowed: --log FOLDER")


def main() -> None:
    """Compare the log named on the command line, or in TANDEM_PREDICTION_LOG, with the workspace's training data."""
    parser = Parser(prog="python -m pipelines.drift", description=__doc__)
    help_ = f"the folder with the prediction log; default: {VARIABLE}"
    parser.add_argument("--log", type=Path, default=os.environ.get(VARIABLE) or None, help=help_)
    folder = parser.parse_args().log
    if folder is None:
        raise InputError(f"no prediction log named; give --log FOLDER or set {VARIABLE}")
    if any(finding.drifted for finding in compare(folder, params.read())):
        sys.exit(DRIFTED)


def compare(folder: Path, settings: Params) -> Sequence[Finding]:
    """Test every column, print a table and write the report.

    Raises InputError where the log holds too few rows of the champion, or the workspace is another's.
    """
    champion = bundle.read(paths.CHAMPION)
    spec = _spec(champion)
    logged = prediction_log.read(folder, spec, str(champion["model"]["sha256"]), settings.drift.rows)
    _require_rows(logged, folder, settings.drift)
    columns = _columns(spec, _inputs(spec, settings.drift.rows), logged, _outputs(champion, settings))
    findings = statistical_tests.compare(columns, settings.drift)
    report.write(columns, findings, report.facts(champion, logged, settings.drift))
    print(tabulate(report.rows(findings), headers="keys", disable_numparse=True))
    print(f"\n{report.verdict(findings)}; report: {paths.DRIFT_REPORT}", flush=True)
    return findings


def _spec(champion: Mapping[str, Any]) -> DataSpec:
    """The champion's spec. Raises InputError where the workspace now holds other data than it learned from."""
    trained = champion["provenance"]["data_sha256"]
    found = validation_report.read(paths.DATA_REPORT / validation_report.FILE)["data_sha256"]
    if trained != found:
        known = f"the champion learned from {trained[:12]}"
        raise InputError(f"{paths.DATA} holds data {found[:12]}, {known}; run `dvc repro`")
    return DataSpec.from_dict(dict(champion["spec"]), str(paths.CHAMPION / MANIFEST))


def _require_rows(logged: Logged, folder: Path, settings: Drift) -> None:
    """Raise InputError where there are too few to say anything."""
    if len(logged.inputs) < settings.minimum_rows:
        raise InputError(
            f"{folder}: {len(logged.inputs)} examples that the champion answered ({logged.others} of other models, "
            f"{logged.broken} unreadable lines); drift.minimum_rows = {settings.minimum_rows}"
        )


def _inputs(spec: DataSpec, rows: int) -> np.ndarray:
    """The summaries float64 [n, S] of at most `rows` training examples, evenly spread."""
    images = split_files.read(paths.split("train"))[0]
    chosen = np.unique(np.linspace(0, len(images) - 1, min(rows, len(images))).astype(int))
    parts = np.array_split(chosen, -(-len(chosen) // onnx_runtime.batch_size(images)))
    return np.concatenate([summary.summarise(images[part], spec) for part in parts])


def _outputs(champion: Mapping[str, Any], settings: Params) -> np.ndarray:
    """What the champion's own graph says of the validation split, float32 [n, K]: it has not learned from that."""
    model = paths.CHAMPION / str(champion["model"]["file"])
    require_sha256(model, str(champion["model"]["sha256"]))
    session = onnx_runtime.open_session(model, settings.evaluate.device)
    return onnx_runtime.predict(session, split_files.read(paths.split("validation"))[0])


def _columns(spec: DataSpec, inputs: np.ndarray, logged: Logged, outputs: np.ndarray) -> list[Column]:
    """What is compared: the predictions first, then every input."""
    numbers = [
        column
        for index, name in enumerate(summary.names(spec))
        for column in _input(spec, index, name, inputs[:, index], logged.inputs[:, index])
    ]
    if not spec.labels:
        return [Column(f"predicted {spec.target}", outputs[:, 0], logged.outputs[:, 0]), *numbers]
    labels = Column("predicted label", outputs.argmax(axis=1), logged.predicted, spec.labels)
    # Rounded as in the log: unequal numbers of digits would be told apart where nearly all are close to 1.
    confidence = outputs.max(axis=1).astype(np.float64).round(summary.PROBABILITY_DECIMALS)
    return [labels, Column("confidence", confidence, logged.outputs.max(axis=1)), *numbers]


def _input(spec: DataSpec, index: int, name: str, reference: np.ndarray, current: np.ndarray) -> Iterator[Column]:
    """Categories with two more labels, `(unknown)` and `(missing)`.

    Of numbers those that are there and, where some are missing, how many are.
    """
    categories = spec.categories[index] if spec.kind == "tabular" else ()
    if categories:
        labels = (*categories, "(unknown)", "(missing)")
        yield Column(name, _places(reference, len(categories)), _places(current, len(categories)), labels)
        return
    gaps = np.isnan(reference), np.isnan(current)
    yield Column(name, reference[~gaps[0]], current[~gaps[1]])
    if gaps[0].any() or gaps[1].any():
        yield Column(f"{name} missing", gaps[0].astype(np.int64), gaps[1].astype(np.int64), ("there", "(missing)"))


def _places(values: np.ndarray, categories: int) -> np.ndarray:
    """The numbers of categories as int64 indices into their labels."""
    known = np.where(np.isnan(values), categories + 1, values)
    return np.where(known == UNKNOWN, categories, known).astype(np.int64)


if __name__ == "__main__":
    stage.run(main)
