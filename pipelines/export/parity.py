"""The proof that an exported file computes what the trained model computes."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from models.errors import InputError
from pipelines.artifacts.hashing import hash_files
from pipelines.config.params import Export, Int8
from pipelines.export.batch_sizes import BATCHES


@dataclass(frozen=True)
class Parity:
    """How far one file is from the trained model, over all examples and all batch sizes.

    Differences are between outputs (probabilities, or predictions of a regression); the relative
    one counts where the trained model's output is above 1e-3. `nan_count` counts outputs that are no
    number in the file or in the trained model. `top1_agreement` is the share of
    examples with the same most probable class, among those without a tie; `accuracy_loss` is what the file
    gets wrong more often than the trained model, negative where it gets more right.
    """

    max_absolute_difference: float
    max_relative_difference: float
    nan_count: int
    top1_agreement: float
    accuracy_difference: float
    accuracy_loss: float
    where: str


def compare(expected: np.ndarray, found: np.ndarray, targets: np.ndarray, ties: float, unit: float = 1.0) -> Parity:
    """Compare a file's outputs [batches, N, K] with the trained model's [N, K]; classes closer than `ties` are tied.

    Differences of a regression are counted in `unit`s of its target.
    """
    loss = accuracy(expected, targets) - accuracy(found, targets)  # [batches]
    difference, size = np.abs(found - expected) / unit, np.abs(expected) / unit
    relative = np.where(size > 1e-3, difference / np.maximum(size, 1e-3), 0.0)
    return Parity(
        max_absolute_difference=float(np.nanmax(difference)),
        max_relative_difference=float(np.nanmax(relative)),
        nan_count=int(np.isnan(difference).sum()),
        top1_agreement=agreement(expected, found, ties),
        accuracy_difference=float(np.max(np.abs(loss))),
        accuracy_loss=float(np.max(loss)),
        where=place(expected, found, difference),
    )


def agreement(expected: np.ndarray, found: np.ndarray, ties: float) -> float:
    """Share of examples with the same most probable class, where expected [N,K] has a clear one."""
    if expected.shape[-1] == 1:
        return 1.0
    first, second = np.sort(expected, axis=-1)[:, [-1, -2]].T
    clear = first - second > ties
    same = found.argmax(-1) == expected.argmax(-1)  # [batches, N]
    return float(same[:, clear].mean()) if clear.any() else 1.0


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Share of right classes along the examples; outputs [..., N, K]. A regression, with K = 1, has none."""
    if outputs.shape[-1] == 1:
        return np.zeros(outputs.shape[:-2])
    share: np.ndarray = (outputs.argmax(-1) == targets).mean(-1)
    return share


def place(expected: np.ndarray, found: np.ndarray, difference: np.ndarray) -> str:
    """Where the outputs differ most, for a person."""
    worst = np.where(np.isnan(difference), np.inf, difference)
    batch, example, output = (int(i) for i in np.unravel_index(worst.argmax(), worst.shape))
    return (
        f"validation example {example}, output {output}, in batches of {BATCHES[batch]}: "
        f"{found[batch, example, output]:.9g} in place of {expected[example, output]:.9g}"
    )


def require(parity: Parity, file: str, config: Export) -> None:
    """Raise InputError where a file is beyond the tolerances of the parameters, saying where it differs most."""
    limits = {
        "max_absolute_difference": parity.max_absolute_difference <= config.absolute_tolerance,
        "max_relative_difference": parity.max_relative_difference <= config.relative_tolerance,
        "nan_count": parity.nan_count == 0,
        "top1_agreement": parity.top1_agreement >= config.top1_agreement,
    }
    failed = [f"{name} = {getattr(parity, name):.9g}" for name, held in limits.items() if not held]
    if failed:
        raise InputError(
            f"{file} is not the trained model: {', '.join(failed)}; allowed by export in params.yaml: "
            f"{config.absolute_tolerance:g} absolute, {config.relative_tolerance:g} relative, no NaN, "
            f"{config.top1_agreement:g} agreement; most at {parity.where}"
        )


def int8_failures(parity: Parity, limits: Int8) -> list[str]:
    """In which way an int8 graph is beyond its own tolerances; empty where it is within them."""
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


def describe(path: Path, parity: Parity) -> dict[str, object]:
    """The entry of one file in parity.json: the parity, its size and hash, and what an ONNX graph is made of."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    contents = [file for file in files if file.is_file()]
    facts: dict[str, object] = {"bytes": sum(file.stat().st_size for file in contents), "sha256": hash_files(contents)}
    if path.suffix == ".onnx":
        model = onnx.load(path)
        opset = next(entry.version for entry in model.opset_import if entry.domain == "")
        facts |= {"opset": opset, "node_count": len(model.graph.node)}
    return {**asdict(parity), **facts}
