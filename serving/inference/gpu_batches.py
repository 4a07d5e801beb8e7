"""Predictions on a GPU in batches of a few fixed sizes, with inputs and outputs bound to device memory.

Kernels are selected, and TensorRT engines built, for each new input shape; batches are therefore padded with zeros to
the next size. See https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html.
"""

import threading
from typing import NamedTuple

import numpy as np
import onnxruntime

from models.spec import DataSpec

SIZES = (1, 2, 4, 8, 16, 32, 64)


class Bound(NamedTuple):
    """A binding with its input [size, *shape] and its output float32 [size, K], both on the device."""

    binding: onnxruntime.IOBinding
    inputs: onnxruntime.OrtValue
    outputs: onnxruntime.OrtValue


class DeviceBatches:
    """Runs a session on `device` ("cuda", or "cpu" in tests) in padded batches, one thread at a time."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: DataSpec, device: str) -> None:
        self._session = session
        self._spec = spec
        self._device = device
        self._bound: dict[int, Bound] = {}
        self._lock = threading.Lock()  # a model is also run for comparison with another one

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Raw examples [N, *spec.shape] -> float32 [N, K]."""
        largest = SIZES[-1]
        with self._lock:
            parts = [self._run(inputs[start : start + largest]) for start in range(0, len(inputs), largest)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, inputs: np.ndarray) -> np.ndarray:
        size = next(size for size in SIZES if size >= len(inputs))
        bound = self._bound.get(size) or self._bind(size)
        padded = self._spec.example(size)
        padded[: len(inputs)] = inputs
        bound.inputs.update_inplace(padded)
        self._session.run_with_iobinding(bound.binding)
        outputs: np.ndarray = bound.outputs.numpy()[: len(inputs)]
        return outputs.copy()  # the next run overwrites this memory

    def _bind(self, size: int) -> Bound:
        spec, allocate = self._spec, onnxruntime.OrtValue.ortvalue_from_shape_and_type
        inputs = allocate((size, *spec.shape), np.dtype(spec.dtype), self._device)
        outputs = allocate((size, spec.outputs), np.float32, self._device)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(spec.input_name, inputs)
        binding.bind_ortvalue_output(spec.output_name, outputs)
        self._bound[size] = Bound(binding, inputs, outputs)
        return self._bound[size]
