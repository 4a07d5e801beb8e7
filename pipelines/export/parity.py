"""Parity: the differences between an exported file and the trained model."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from models.errors import InputError
from models.spec import DataSpec
from pipelines.artifacts.hashing import hash_files
from pipelines.config.params import Export, Int8
from pipelines.export.batch_sizes import BATCH_SIZES

NEGLIGIBLE = 1e-3  # outputs of the trained model below it have no relative difference


@dataclass(frozen=True)
class Parity:
    """Differences between the outputs of one file and of the trained model, over all examples and batch sizes.

    Outputs are probabilities, or predictions of a regression. `nan_count` counts outputs that are NaN in the file or
    in the trained model. `top1_agreement` is the share of examples with the same most probable class, among those
    without a tie; `accuracy_loss` is the accuracy of the trained model minus that of the file. `where` is the place of
    the largest difference.
    """

    max_absolute_difference: float
    max_relative_difference: float
    nan_count: int
    top1_agreement: float
    accuracy_difference: float
    accuracy_loss: float
    where: str


def compare(expected: np.ndarray, outputs: np.ndarray, targets: np.ndarray, spec: DataSpec, tie: float) -> Parity:
    """Compare a file's `outputs` [batches, N, K] with the trained model's, [N, K].

    The first examples have `targets`: agreement and accuracy are theirs. Classes whose probabilities differ by at most
    `tie` are tied.
    """
    scale = difference_scale(spec)
    difference, size = np.abs(outputs - expected) / scale, np.abs(expected) / scale
    relative = np.where(size > NEGLIGIBLE, difference / np.maximum(size, NEGLIGIBLE), 0.0)
    trained, exported = expected[: len(targets)], outputs[:, : len(targets)]
    lost = right(trained, targets) - right(exported, targets) if spec.is_classification else np.zeros(1)
    loss = lost / max(len(targets), 1)
    return Parity(
        max_absolute_difference=float(np.fmax.reduce(difference, axis=None)),
        max_relative_difference=float(np.fmax.reduce(relative, axis=None)),
        nan_count=int(np.isnan(difference).sum()),
        top1_agreement=agreement(trained, exported, tie) if spec.is_classification else 1.0,
        accuracy_difference=float(np.max(np.abs(loss))),
        accuracy_loss=float(np.max(loss)),
        where=largest_difference(expected, outputs, difference),
    )


def difference_scale(spec: DataSpec) -> float:
    """The unit of differences: 1 for probabilities, else the target's standard deviation.

    At least a hundredth of the target's mean: float32 has seven digits.
    """
    return 1.0 if spec.is_classification else max(spec.target_std, abs(spec.target_mean) / 100)


def agreement(expected: np.ndarray, outputs: np.ndarray, tie: float) -> float:
    """Share of examples with the same most probable class, where that of `expected` [N, K] is not tied."""
    first, second = np.sort(expected, axis=-1)[:, [-1, -2]].T
    clear = first - second > tie
    same = outputs.argmax(-1) == expected.argmax(-1)  # [batches, N]
    return float(same[:, clear].mean()) if clear.any() else 1.0


def right(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The number of right classes along the examples; outputs [..., N, K]."""
    count: np.ndarray = (outputs.argmax(-1) == targets).sum(-1)
    return count


def largest_difference(expected: np.ndarray, outputs: np.ndarray, difference: np.ndarray) -> str:
    """The place of the largest difference, and both values there."""
    worst = np.where(np.isnan(difference), np.inf, difference)
    batch, example, output = (int(i) for i in np.unravel_index(worst.argmax(), worst.shape))
    return (
        f"compared example {example}, output {output}, in batches of {BATCH_SIZES[batch]}: "
        f"{outputs[batch, example, output]:.9g} in place of {expected[example, output]:.9g}"
    )


def require_within_tolerances(parity: Parity, file: str, config: Export) -> None:
    """Raise InputError, with the place of the largest difference, if a file exceeds the tolerances."""
    limits = {
        "max_absolute_difference": parity.max_absolute_difference <= config.absolute_tolerance,
        "max_relative_difference": parity.max_relative_difference <= config.relative_tolerance,
        "nan_count": parity.nan_count == 0,
        "top1_agreement": parity.top1_agreement >= config.top1_agreement,
    }
    failed = [f"{name} = {getattr(parity, name):.9g}" for name, passed in limits.items() if not passed]
    if failed:
        raise InputError(
            f"{file} differs from the trained model: {', '.join(failed)}; allowed by export in params.yaml: "
            f"{config.absolute_tolerance:g} absolute, {config.relative_tolerance:g} relative, no NaN, "
            f"{config.top1_agreement:g} agreement; largest difference at {parity.where}"
        )


def int8_failures(parity: Parity, limits: Int8) -> list[str]:
    """The tolerances that an int8 graph exceeds; empty if none."""
    failed = []
    if parity.nan_count:
        failed.append(f"nan_count = {parity.nan_count}; allowed: 0")
    if parity.top1_agreement < limits.top1_agreement:
        allowed = f"export.int8.top1_agreement = {limits.top1_agreement:g}"
        failed.append(f"top1_agreement = {parity.top1_agreement:.4f}; allowed: at least {allowed}")
    if parity.accuracy_loss > limits.accuracy_loss:
        allowed = f"export.int8.accuracy_loss = {limits.accuracy_loss:g}"
        failed.append(f"accuracy_loss = {parity.accuracy_loss:.4f}; allowed: at most {allowed}")
    return failed


def file_entry(parity: Parity, path: Path) -> dict[str, object]:
    """The entry of one file in the parity report: parity, size and hash; of an ONNX graph also opset and node count."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    contents = [file for file in files if file.is_file()]
    entry: dict[str, object] = {"bytes": sum(file.stat().st_size for file in contents), "sha256": hash_files(contents)}
    if path.suffix == ".onnx":
        model = onnx.load(path)
        opset = next(imported.version for imported in model.opset_import if imported.domain == "")
        entry |= {"opset": opset, "node_count": len(model.graph.node)}
    return {**asdict(parity), **entry}
