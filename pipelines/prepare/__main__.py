"""The stage that makes raw examples fit to learn from: `python -m pipelines.prepare`."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import DataSpec
from pipelines.artifacts import npy, paths, raw_data, split_files
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.hashing import hash_arrays
from pipelines.artifacts.raw_data import RawData
from pipelines.cli import stage
from pipelines.config import params
from pipelines.prepare import image_report, splits, table_report, table_statistics, validation
from pipelines.prepare.image_statistics import channel_statistics
from pipelines.prepare.splits import Split
from pipelines.prepare.table_statistics import Learned

OUTPUTS = (*splits.NAMES, paths.DATA_REPORT.name, paths.SPEC.name)


def main() -> None:
    """Check, split and describe `artifacts/data/raw`. Raises InputError and OSError; then nothing is replaced."""
    config = params.read().prepare
    raw = raw_data.read(paths.RAW)
    validation.check(raw)
    parts = splits.split(raw, config)
    columns = table_statistics.learn(parts["train"], raw.table) if raw.table else []
    with staged(paths.DATA, OUTPUTS) as folder:
        for name, part in parts.items():
            write_split(part, folder / name, partial(encode, raw, columns))
        report = describe(raw, columns, folder)
    print(report_of(raw).summary(report), f"see {paths.DATA_REPORT}", sep="\n")


def encode(raw: RawData, columns: Sequence[Learned], inputs: NDArray[Any]) -> NDArray[Any]:
    """Raw `inputs` [n, ...] as models read them: pixels as they are, categories renumbered."""
    return table_statistics.encode(inputs, columns, raw.table) if raw.table else inputs


def write_split(part: Split, folder: Path, encoded: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """`inputs.npy` [n, ...], each chunk `encoded`, and `targets.npy` [n], in the order of `part.rows`."""
    chunks = (encoded(part.inputs[part.rows[span]]) for span in npy.spans(part.inputs, len(part.rows)))
    split_files.write(chunks, part.inputs, part.targets[part.rows], folder)


def describe(raw: RawData, columns: Sequence[Learned], folder: Path) -> dict[str, Any]:
    """Write `spec.json` and the report on the splits that stand in `folder`; the content of `validation.json`."""
    arrays = {name: split_files.read(folder / name) for name in splits.NAMES}
    inputs, targets = ({name: pair[place] for name, pair in arrays.items()} for place in (0, 1))
    spec, constant = make_spec(raw, columns, inputs["train"], targets["train"])
    text = json.dumps(spec.to_dict(), indent=2, ensure_ascii=False) + "\n"
    (folder / paths.SPEC.name).write_text(text, "utf-8")
    report = {
        "name": raw.name,
        "data_sha256": hash_splits(inputs, targets, text),
        **report_of(raw).inspect(inputs, targets, spec),
        "constant_columns" if raw.table else "constant_channels": constant,
    }
    report_of(raw).write(report, spec, inputs["train"], targets["train"], folder / paths.DATA_REPORT.name)
    return report


def report_of(raw: RawData) -> ModuleType:
    """What looks at images, or at a table."""
    return table_report if raw.table else image_report


def make_spec(
    raw: RawData, columns: Sequence[Learned], inputs: NDArray[Any], targets: NDArray[Any]
) -> tuple[DataSpec, list[int]]:
    """The spec with the statistics of the training split, and the numbers of the channels or columns of one value.

    Those get a standard deviation of 1, as models divide by it.
    """
    mean, std = _column_statistics(columns) if raw.table else channel_statistics(inputs)
    spec = DataSpec(
        name=raw.name,
        task="classification" if raw.labels else "regression",
        kind="tabular" if raw.table else "image",
        shape=tuple(inputs.shape[1:]),
        dtype=str(inputs.dtype),
        labels=raw.labels,
        target=raw.target,
        features=raw.table.features if raw.table else (),
        mean=mean,
        std=tuple(value or 1.0 for value in std),
        categories=tuple(column.categories for column in columns),
        fill=tuple(column.fill for column in columns),
        target_mean=0.0 if raw.labels else float(np.mean(targets, dtype=np.float64)),
        target_std=1.0 if raw.labels else float(np.std(targets, dtype=np.float64)) or 1.0,
    )
    return spec, [place for place, value in enumerate(std) if value == 0]


def _column_statistics(columns: Sequence[Learned]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(column.mean for column in columns), tuple(column.std for column in columns)


def hash_splits(inputs: image_report.Inputs, targets: image_report.Targets, spec: str) -> str:
    """One SHA-256 over the bytes of all splits and the text of `spec.json`."""
    arrays: dict[str, NDArray[Any]] = {f"{name}/inputs": images for name, images in inputs.items()}
    arrays |= {f"{name}/targets": classes for name, classes in targets.items()}
    return hash_arrays(arrays, spec)


if __name__ == "__main__":
    stage.run(main)
