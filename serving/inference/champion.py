"""The model that answers: loaded from its bundle, warmed, and probed with an example whose answer is known."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.session import CPU, Device
from models.spec import DataSpec
from serving.inference import bundle
from serving.inference.bundle import Bundle
from serving.inference.predictor import Predictor
from serving.settings import ENGINES

TOLERANCE = 1e-3  # largest difference from the stored outputs: another machine's rounding, not another model
WARM_BATCHES = (1, 2, 8, 32)
INLINE_SECONDS = 0.001  # a run shorter than this costs less than handing it to a thread and back


@dataclass(frozen=True)
class Champion:
    """One version of the model, ready to answer. `inline` says that a run is too short for a thread.

    A GPU is always waited for in a thread.
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

    def describe(self) -> dict[str, Any]:
        """The model's pedigree, as JSON-ready values: what `GET /model` answers."""
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


def load(folder: Path, device: Device, engines: Path = ENGINES) -> Champion:
    """The champion in `folder` on `device`; TensorRT keeps what it compiles in `engines`. Raises InputError."""
    found = bundle.read(folder)
    predictor = Predictor(found.model, found.spec, device, engines)
    example = _probe(predictor, found)
    manifest = found.manifest
    return Champion(
        manifest.name,
        manifest.version,
        manifest.model.sha256,
        found.spec,
        predictor,
        _warm(predictor, example) < INLINE_SECONDS and predictor.provider == CPU,
        manifest.metrics,
        manifest.provenance,
        example,
    )


def _probe(predictor: Predictor, found: Bundle) -> np.ndarray:
    """The stored examples, once the model has answered them as it should. Raises InputError."""
    inputs, expected = found.example()
    if inputs.shape[1:] != found.spec.shape:
        raise InputError(f"the stored example has shape {inputs.shape[1:]}, the spec says {found.spec.shape}")
    outputs = predictor.predict(inputs)
    if outputs.shape != expected.shape:
        raise InputError(f"the stored example's outputs have shape {expected.shape}, the model gives {outputs.shape}")
    difference = float((np.abs(outputs - expected) / np.maximum(1, np.abs(expected))).max())
    if not difference <= TOLERANCE:  # NaN fails too
        raise InputError(f"the model answers its stored example wrongly: off by {difference:.2g}, allowed {TOLERANCE}")
    return inputs


def _warm(predictor: Predictor, example: np.ndarray) -> float:
    """Seconds for one example after a few runs of several sizes, so that no request pays for the first.

    Of the processor and the fastest of several: what else runs, here or on the machine, makes none shorter.
    """
    for size in WARM_BATCHES:
        predictor.predict(np.resize(example, (size, *example.shape[1:])))
    return min(_seconds(predictor, example[:1]) for _ in range(10))


def _seconds(predictor: Predictor, example: np.ndarray) -> float:
    """How much of the processor's time one run takes; it runs in the thread that calls it."""
    started = time.thread_time()
    predictor.predict(example)
    return time.thread_time() - started
