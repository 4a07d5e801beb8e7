"""The stage that makes raw examples fit to learn from: `python -m pipelines.prepare`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import DataSpec
from pipelines import data_report, npy, params, paths, raw_store, splits, stage, validation
from pipelines.fingerprint import sha256
from pipelines.sources.raw import RawData
from pipelines.splits import Split
from pipelines.staging import staged
from pipelines.statistics import channel_statistics

OUTPUTS = (*splits.NAMES, paths.DATA_REPORT.name, paths.SPEC.name)


def main() -> None:
    """Check, split and describe `artifacts/data/raw`. Raises InputError and OSError; then nothing is replaced."""
    config = params.read().prepare
    raw = raw_store.read(paths.RAW)
    validation.check(raw)
    parts = splits.split(raw, config)
    with staged(paths.DATA, OUTPUTS) as folder:
        for name, part in parts.items():
            write_split(part, folder / name)
        report = describe(raw, folder)
    print(data_report.summary(report), f"see {paths.DATA_REPORT}", sep="\n")


def write_split(part: Split, folder: Path) -> None:
    """`inputs.npy`, uint8 [n, H, W, C], and `targets.npy`, int64 [n], in the order of `part.rows`."""
    count = len(part.rows)
    chunks = (part.inputs[part.rows[span]] for span in npy.spans(part.inputs, count))
    npy.write(folder / "inputs.npy", np.uint8, (count, *part.inputs.shape[1:]), chunks)
    npy.write(folder / "targets.npy", np.int64, (count,), [part.targets[part.rows]])


def describe(raw: RawData, folder: Path) -> dict[str, Any]:
    """Write `spec.json` and the report on the splits that stand in `folder`; the content of `validation.json`."""
    inputs = {name: npy.read(folder / name / "inputs.npy") for name in splits.NAMES}
    targets = {name: npy.read(folder / name / "targets.npy") for name in splits.NAMES}
    spec, constant_channels = make_spec(raw, inputs["train"])
    text = json.dumps(spec.to_dict(), indent=2, ensure_ascii=False) + "\n"
    (folder / paths.SPEC.name).write_text(text, "utf-8")
    report = {
        "name": raw.name,
        "data_sha256": hash_splits(inputs, targets, text),
        **data_report.inspect(inputs, targets, raw.labels),
        "constant_channels": constant_channels,
    }
    data_report.write(report, inputs["train"], targets["train"], folder / paths.DATA_REPORT.name)
    return report


def make_spec(raw: RawData, images: NDArray[np.uint8]) -> tuple[DataSpec, list[int]]:
    """The spec with the statistics of the training `images`, and the numbers of the channels that never change.

    Those get a standard deviation of 1, as models divide by it.
    """
    mean, std = channel_statistics(images)
    constant = [channel for channel, value in enumerate(std) if value == 0]
    std = tuple(value or 1.0 for value in std)
    shape = tuple(images.shape[1:])
    spec = DataSpec(raw.name, "classification", "image", shape, "uint8", raw.labels, "label", (), mean, std)
    return spec, constant


def hash_splits(inputs: data_report.Inputs, targets: data_report.Targets, spec: str) -> str:
    """One SHA-256 over the bytes of all splits and the text of `spec.json`."""
    arrays: dict[str, NDArray[Any]] = {f"{name}/inputs": images for name, images in inputs.items()}
    arrays |= {f"{name}/targets": classes for name, classes in targets.items()}
    return sha256(arrays, spec)


if __name__ == "__main__":
    stage.run(main)
