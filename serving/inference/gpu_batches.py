"""A session on a GPU: batches of few sizes, in memory of the device that is used again and again.

A GPU chooses its kernels anew for each shape it meets, and TensorRT builds an engine; so a batch is filled up
with zeros to the next size. Inputs and outputs stay bound to the session
(https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html).
"""

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
    """Runs a session whose first provider computes on `device` ("cuda"; "cpu" for a test). For one thread."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: DataSpec, device: str) -> None:
        self._session = session
        self._spec = spec
        self._device = device
        self._bound: dict[int, Bound] = {}

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Raw examples [N, *spec.shape] -> float32 [N, K]."""
        most = SIZES[-1]
        parts = [self._run(inputs[start : start + most]) for start in range(0, len(inputs), most)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, inputs: np.ndarray) -> np.ndarray:
        size = next(size for size in SIZES if size >= len(inputs))
        bound = self._bound.get(size) or self._bind(size)
        filled = self._spec.example(size)
        filled[: len(inputs)] = inputs
        bound.inputs.update_inplace(filled)
        self._session.run_with_iobinding(bound.binding)
        outputs: np.ndarray = bound.outputs.numpy()[: len(inputs)]
        return outputs.copy()  # the memory is written again by the next run

    def _bind(self, size: int) -> Bound:
        spec, allocate = self._spec, onnxruntime.OrtValue.ortvalue_from_shape_and_type
        inputs = allocate((size, *spec.shape), np.dtype(spec.dtype), self._device)
        outputs = allocate((size, spec.outputs), np.float32, self._device)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(spec.input_name, inputs)
        binding.bind_ortvalue_output(spec.output_name, outputs)
        self._bound[size] = Bound(binding, inputs, outputs)
        return self._bound[size]
