"""Batched predictions of an exported graph by ONNX Runtime."""

import numpy as np

from models.memory_map import batches
from models.onnx.session import Session

BATCH = 256  # examples held in memory at once ...
BATCH_BYTES = 1 << 22  # ... within this limit for large examples: a layer's output can be thirty times as large


def predict(session: Session, inputs: np.ndarray) -> np.ndarray:
    """Outputs float32 [N, K] for raw inputs [N, ...], batch by batch: `inputs` may be memory-mapped."""
    return np.concatenate([run(session, batch) for batch in batches(inputs, batch_size(inputs))])


def batch_size(inputs: np.ndarray) -> int:
    """The number of examples like those of `inputs` [N, ...] to hold in memory at once."""
    return max(1, min(BATCH, BATCH_BYTES // inputs[:1].nbytes))


def run(session: Session, batch: np.ndarray) -> np.ndarray:
    """Outputs float32 [N, K] of one batch [N, ...]."""
    outputs = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(batch)})
    return np.asarray(outputs[0])
