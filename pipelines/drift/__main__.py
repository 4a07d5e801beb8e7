"""Drift of the inputs and predictions of the service from the training data: `python -m pipelines.drift --log FOLDER`.

Not a stage of the graph, because the log grows outside of it: run it by hand or by a timer.
The exit status is 0 without drift, 2 with drift, and 1 after an error.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tabulate import tabulate

from models import summary
from models.config import Device
from models.errors import InputError
from models.manifest import MANIFEST
from models.onnx import inference
from models.onnx.session import open_session
from models.spec import UNKNOWN, DataSpec
from pipelines.artifacts import bundle, log_files, paths, split_files, validation_report
from pipelines.artifacts.hashing import require_sha256
from pipelines.config import params
from pipelines.config.params import Drift
from pipelines.drift import prediction_log, report, statistical_tests
from pipelines.drift.prediction_log import LoggedPredictions
from pipelines.drift.statistical_tests import ColumnDrift, ColumnSamples
from pipelines.execution import stage
from pipelines.execution.counts import counted

DRIFTED = 2


class Parser(argparse.ArgumentParser):
    """An argument parser that does not exit with status 2, which means drift here."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{message}; allowed: --log FOLDER")


def main() -> None:
    """Compare the log named on the command line or in TANDEM_PREDICTION_LOG with the training data of the workspace."""
    parser = Parser(prog="python -m pipelines.drift", description=__doc__)
    log_files.add_argument(parser)
    folder = parser.parse_args().log
    if folder is None:
        raise InputError(f"no prediction log given; give --log FOLDER or set {log_files.VARIABLE}")
    settings = params.read()
    if any(result.drifted for result in compare(folder, settings.drift, settings.evaluate.device)):
        sys.exit(DRIFTED)


def compare(folder: Path, config: Drift, device: Device) -> Sequence[ColumnDrift]:
    """Test every column, print a table and write the report.

    Raises InputError where the log has too few rows of the champion, or the workspace data of another kind.
    """
    champion = bundle.read(paths.CHAMPION)
    spec = _spec(champion)
    logged = prediction_log.read(folder, spec, str(champion["model"]["sha256"]), config.rows)
    _require_rows(logged, folder, config)
    columns = _columns(spec, _inputs(spec, config.rows), logged, _outputs(champion, device))
    results = statistical_tests.compare(columns, config)
    report.write(columns, results, report.context(champion, logged, config), paths.DRIFT_REPORT)
    print(tabulate(report.rows(results), headers="keys", disable_numparse=True))
    print(f"\n{report.verdict(results)}; report: {paths.DRIFT_REPORT}", flush=True)
    return results


def _spec(champion: Mapping[str, Any]) -> DataSpec:
    """The champion's spec. Raises InputError where the data of the workspace are not of the same kind.

    Other data, such as newer ones on which no candidate was better, are mentioned.
    """
    spec = DataSpec.from_dict(dict(champion["spec"]), str(paths.CHAMPION / MANIFEST))
    if differing := bundle.data_differences(spec, DataSpec.read(paths.SPEC)):
        raise InputError(f"{paths.SPEC}: {', '.join(differing)} differ from those of the champion; run `dvc repro`")
    trained = champion["provenance"]["data_sha256"]
    current = validation_report.read()["data_sha256"]
    if trained != current:
        print(f"compared with data {current[:12]} in {paths.DATA}; the champion was trained on {trained[:12]}")
    return spec


def _require_rows(logged: LoggedPredictions, folder: Path, config: Drift) -> None:
    """Raise InputError where there are fewer rows than `drift.minimum_rows`."""
    if len(logged.inputs) < config.minimum_rows:
        raise InputError(
            f"{folder}: {counted(len(logged.inputs), 'example')} of the champion "
            f"({counted(logged.other_models, 'line')} of other models, {logged.unreadable} unreadable); "
            f"drift.minimum_rows = {config.minimum_rows}"
        )


def _inputs(spec: DataSpec, rows: int) -> np.ndarray:
    """The summaries float64 [n, S] of at most `rows` evenly spaced training examples."""
    inputs = split_files.read(paths.split("train"))[0]
    chosen = np.unique(np.linspace(0, len(inputs) - 1, min(rows, len(inputs))).astype(int))
    batches = np.array_split(chosen, -(-len(chosen) // inference.batch_size(inputs)))
    return np.concatenate([summary.summarise(inputs[batch], spec) for batch in batches])


def _outputs(champion: Mapping[str, Any], device: Device) -> np.ndarray:
    """Outputs float32 [n, K] of the champion for the validation split, which it was not trained on."""
    model = paths.CHAMPION / str(champion["model"]["file"])
    require_sha256(model, str(champion["model"]["sha256"]))
    session = open_session(model, device, "evaluate.device")
    return inference.predict(session, split_files.read(paths.split("validation"))[0])


def _columns(spec: DataSpec, inputs: np.ndarray, logged: LoggedPredictions, outputs: np.ndarray) -> list[ColumnSamples]:
    """The columns to compare: predictions first, then inputs."""
    input_columns = [
        column
        for index, name in enumerate(summary.names(spec))
        for column in _input_columns(spec, index, name, inputs[:, index], logged.inputs[:, index])
    ]
    if not spec.is_classification:
        return [ColumnSamples(f"predicted {spec.target}", outputs[:, 0], logged.outputs[:, 0]), *input_columns]
    labels = ColumnSamples("predicted label", outputs.argmax(axis=1), logged.predicted, spec.labels)
    # Rounded as in the log: otherwise values close to 1 would differ by their number of digits.
    confidence = outputs.max(axis=1).astype(np.float64).round(summary.PROBABILITY_DECIMALS)
    return [labels, ColumnSamples("confidence", confidence, logged.outputs.max(axis=1)), *input_columns]


def _input_columns(
    spec: DataSpec, index: int, name: str, reference: np.ndarray, current: np.ndarray
) -> Iterator[ColumnSamples]:
    """A categorical feature with two more labels, `(unknown)` and `(missing)`.

    A numerical feature without its missing values and, where there are any, whether the value is missing.
    """
    categories = spec.categories[index] if spec.kind == "tabular" else ()
    if categories:
        labels = (*categories, "(unknown)", "(missing)")
        yield ColumnSamples(
            name, _label_indices(reference, len(categories)), _label_indices(current, len(categories)), labels
        )
        return
    missing = np.isnan(reference), np.isnan(current)
    yield ColumnSamples(name, reference[~missing[0]], current[~missing[1]])
    if missing[0].any() or missing[1].any():
        before, now = (values.astype(np.int64) for values in missing)
        yield ColumnSamples(f"{name} missing", before, now, ("present", "(missing)"))


def _label_indices(values: np.ndarray, categories: int) -> np.ndarray:
    """Category numbers as int64 indices into the labels."""
    known = np.where(np.isnan(values), categories + 1, values)
    return np.where(known == UNKNOWN, categories, known).astype(np.int64)


if __name__ == "__main__":
    stage.run(main)
