"""Stage `prepare`: validate and split the raw examples, and compute their statistics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.spec import DataSpec, Dtype
from pipelines.artifacts import npy, paths, raw_data, split_files, validation_report
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.hashing import hash_arrays
from pipelines.artifacts.raw_data import RawData
from pipelines.config import params
from pipelines.config.params import Prepare
from pipelines.execution import stage
from pipelines.prepare import image_plots, image_report, leaks, splits, table_report, table_statistics, validation
from pipelines.prepare.image_statistics import channel_statistics
from pipelines.prepare.splits import SplitRows
from pipelines.prepare.table_statistics import ColumnStatistics

OUTPUTS = (*splits.NAMES, paths.DATA_REPORT.name, paths.SPEC.name)


def main() -> None:
    """Prepare `artifacts/data/raw`."""
    prepare(params.read().prepare)


def prepare(config: Prepare) -> None:
    """Write the splits, `spec.json` and the report. Raises InputError and OSError; existing files are then kept."""
    raw = raw_data.read(paths.RAW)
    validation.check(raw)
    parts = splits.split(raw, config)
    columns = table_statistics.compute(parts["train"], raw.table) if raw.table else []
    with staged(paths.DATA, OUTPUTS) as folder:
        for name, part in parts.items():
            _write_split(part, partial(_encode, raw, columns), folder / name)
        report = _write_spec_and_report(raw, columns, leaks.inspect(parts, raw), folder)
    print(*_summary(raw, report), f"see {paths.DATA_REPORT}", sep="\n")


def _encode(raw: RawData, columns: Sequence[ColumnStatistics], inputs: NDArray[Any]) -> NDArray[Any]:
    """Model inputs for raw `inputs` [n, ...]: pixels unchanged, categories renumbered."""
    return table_statistics.encode(inputs, columns, raw.table) if raw.table else inputs


def _write_split(part: SplitRows, encode: Callable[[NDArray[Any]], NDArray[Any]], folder: Path) -> None:
    """Write encoded inputs [n, ...] and targets [n] in the order of `part.rows`."""
    chunks = (encode(part.inputs[part.rows[span]]) for span in npy.spans(part.inputs, len(part.rows)))
    split_files.write(chunks, part.inputs, part.targets[part.rows], folder)


def _write_spec_and_report(
    raw: RawData, columns: Sequence[ColumnStatistics], leak_report: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Write `spec.json` and the report on the splits in `folder`; the content of `validation.json`."""
    arrays = {name: split_files.read(folder / name) for name in splits.NAMES}
    inputs, targets = ({name: pair[index] for name, pair in arrays.items()} for index in (0, 1))
    spec, constant = _make_spec(raw, columns, inputs["train"], targets["train"])
    spec_file = folder / paths.SPEC.name
    spec.write(spec_file)
    report = {
        "name": raw.name,
        "data_sha256": _hash_splits(inputs, targets, spec_file.read_text("utf-8")),
        **_report_module(raw).inspect(inputs, targets, spec),
        **leak_report,
        "constant_columns" if raw.table else "constant_channels": constant,
    }
    _write_report(raw, report, spec, inputs["train"], targets["train"], folder / paths.DATA_REPORT.name)
    return report


def _write_report(
    raw: RawData,
    report: Mapping[str, Any],
    spec: DataSpec,
    inputs: NDArray[Any],
    targets: NDArray[Any],
    folder: Path,
) -> None:
    """Write `validation.json`, `balance.png` of a classification, and plots of the training examples."""
    folder.mkdir()
    validation_report.write(report, folder / validation_report.FILE)
    if spec.is_classification:
        title = f"{spec.name}: examples per class (dashed: mean)"
        image_plots.draw_balance(report["classes"], title, folder / "balance.png")
    _report_module(raw).draw(spec, inputs, targets, folder)


def _summary(raw: RawData, report: Mapping[str, Any]) -> Iterator[str]:
    """A line for the splits, and a note for each anomaly."""
    counts = ", ".join(f"{count} {name}" for name, count in report["examples"].items())
    yield f"prepared {report['name']}: {counts}"
    unit = "rows" if raw.table else "images"
    for pair, count in report["duplicates"].items():
        if count:
            earlier, later = pair.split("/")
            yield f"note: {later} {unit} that are also in the {earlier} split: {count} (prepare.group_duplicates)"
    yield from (f"note: {note}" for note in _report_module(raw).notes(report))


def _report_module(raw: RawData) -> ModuleType:
    return table_report if raw.table else image_report


def _make_spec(
    raw: RawData, columns: Sequence[ColumnStatistics], inputs: NDArray[Any], targets: NDArray[Any]
) -> tuple[DataSpec, list[int]]:
    """The spec with the statistics of the training split, and the indices of constant channels or columns.

    The standard deviation of those is set to 1, as models divide by it.
    """
    if raw.table:
        mean, std = tuple(column.mean for column in columns), tuple(column.std for column in columns)
    else:
        mean, std = channel_statistics(inputs)
    spec = DataSpec(
        name=raw.name,
        task="classification" if raw.is_classification else "regression",
        kind="tabular" if raw.table else "image",
        shape=tuple(inputs.shape[1:]),
        dtype=cast(Dtype, str(inputs.dtype)),
        labels=raw.labels,
        target=raw.target,
        features=raw.table.features if raw.table else (),
        mean=mean,
        std=tuple(value or 1.0 for value in std),
        categories=tuple(column.categories for column in columns),
        fill=tuple(column.fill for column in columns),
        target_mean=0.0 if raw.is_classification else float(np.mean(targets, dtype=np.float64)),
        target_std=1.0 if raw.is_classification else float(np.std(targets, dtype=np.float64)) or 1.0,
    )
    return spec, [index for index, value in enumerate(std) if value == 0]


def _hash_splits(inputs: image_report.Inputs, targets: image_report.Targets, spec: str) -> str:
    """One SHA-256 over the bytes of all splits and the text of `spec.json`."""
    arrays: dict[str, NDArray[Any]] = {f"{name}/inputs": images for name, images in inputs.items()}
    arrays |= {f"{name}/targets": classes for name, classes in targets.items()}
    return hash_arrays(arrays, spec)


if __name__ == "__main__":
    stage.run(main, __doc__)
