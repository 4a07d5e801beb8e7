"""The served model: loaded from its bundle, verified with the stored example and warmed up."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.onnx.session import CPU, Device
from models.spec import DataSpec
from serving.inference import bundle, gpu_batches
from serving.inference.bundle import Bundle
from serving.inference.predictor import Predictor
from serving.settings import ENGINES, GPU_MEMORY_BYTES

TOLERANCE = 1e-3  # largest difference from the stored outputs, relative where they exceed 1: allows for rounding only
WARM_UP_BATCHES = (1, 2, 8, 32)
MAX_INLINE_SECONDS = 0.001  # a shorter run costs less than a switch to another thread and back


@dataclass(frozen=True)
class Champion:
    """One loaded version of the model.

    `inline` is true if a run is short enough for the event loop's own thread; never on a GPU.
    """

    name: str
    version: str
    sha256: str
    spec: DataSpec
    predictor: Predictor
    inline: bool
    metrics: dict[str, float]
    provenance: dict[str, Any]
    example: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready metadata and lineage, the basis of `GET /model`."""
        spec = self.spec
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "provider": self.predictor.provider,
            "task": spec.task,
            "input": {"name": spec.input_name, "kind": spec.kind, "dtype": spec.dtype, "shape": list(spec.shape)},
            "output": {"name": spec.output_name, "shape": [spec.outputs]},
            "labels": list(spec.labels),
            "features": list(spec.features),
            "categories": list(spec.categories),
            "missing": [value is not None for value in spec.fill],
            "mean": list(spec.mean),
            "data": spec.name,
            "metrics": self.metrics,
            "provenance": self.provenance,
        }


def load(
    folder: Path,
    device: Device,
    engines: Path = ENGINES,
    verify_key: Path | None = None,
    gpu_memory_bytes: int = GPU_MEMORY_BYTES,
) -> Champion:
    """Load the champion in `folder` on `device`; `engines` and `gpu_memory_bytes` as in `Predictor`.

    Raises InputError, also for a bundle without a valid signature if there is a key.
    """
    content = bundle.read(folder, verify_key)
    predictor = Predictor(content.model, content.spec, device, engines, gpu_memory_bytes)
    example = _verify_example(predictor, content)
    manifest = content.manifest
    return Champion(
        manifest.name,
        manifest.version,
        manifest.model.sha256,
        content.spec,
        predictor,
        _warm_up(predictor, example) < MAX_INLINE_SECONDS and predictor.provider == CPU,
        manifest.metrics,
        manifest.provenance.model_dump(),
        example,
    )


def _verify_example(predictor: Predictor, content: Bundle) -> np.ndarray:
    """The stored examples [n, *shape]. Raises InputError if the model's outputs differ from the stored ones."""
    inputs, expected = content.example()
    if inputs.shape[1:] != content.spec.shape:
        raise InputError(f"the stored example has shape {inputs.shape[1:]}, the spec has {content.spec.shape}")
    outputs = predictor.predict(inputs)
    if outputs.shape != expected.shape:
        raise InputError(f"the stored example's outputs have shape {expected.shape}, the model returns {outputs.shape}")
    difference = float((np.abs(outputs - expected) / np.maximum(1, np.abs(expected))).max())
    if not difference <= TOLERANCE:  # NaN fails too
        raise InputError(f"wrong outputs for the stored example: off by {difference:.2g}, allowed: {TOLERANCE}")
    return inputs


def _warm_up(predictor: Predictor, example: np.ndarray) -> float:
    """CPU seconds of one run of one example, after runs of several batch sizes that initialise the session.

    The minimum of several runs, which other load on the machine affects least.
    """
    for size in WARM_UP_BATCHES if predictor.provider == CPU else gpu_batches.SIZES:
        predictor.predict(np.resize(example, (size, *example.shape[1:])))
    return min(_seconds(predictor, example[:1]) for _ in range(10))


def _seconds(predictor: Predictor, example: np.ndarray) -> float:
    """CPU seconds of one run, which uses the calling thread only."""
    started = time.thread_time()
    predictor.predict(example)
    return time.thread_time() - started
