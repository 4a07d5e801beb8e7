"""Shared by all peers: the ONNX Runtime session, with the options of Tandem, and strict validation of inputs."""

import io
import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

# ONNX Runtime has telemetry from its import on, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

MODEL = "PEER_MODEL"  # the ONNX file
PORT = "PEER_PORT"
WORKERS = "PEER_WORKERS"
MAX_BODY_BYTES = 4_194_304
MAX_BATCH = 4096
MAX_PIXELS = 16_000_000

Session: TypeAlias = onnxruntime.InferenceSession
RELEASE = ".".join(onnxruntime.__version__.split(".")[:2])


def open_session(path: Path) -> Session:
    """A session on the CPU with one thread that does not spin when idle."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return Session(str(path), options, providers=["CPUExecutionProvider"])


class Model:
    """The graph named by the environment. Methods that read an input raise ValueError if it is invalid."""

    def __init__(self) -> None:
        self._session = open_session(Path(os.environ[MODEL]))
        (self._input,), (self._output,) = self._session.get_inputs(), self._session.get_outputs()
        self.shape: tuple[int, ...] = tuple(self._input.shape[1:])  # (H, W, C)
        self._example_bytes = int(np.prod(self.shape))

    def run(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 [N, H, W, C] -> probabilities float32 [N, K]."""
        outputs: np.ndarray = self._session.run([self._output.name], {self._input.name: images})[0]
        return outputs

    def from_lists(self, values: Any) -> np.ndarray:
        """Nested lists [N][H][W] of whole numbers 0 to 255 -> uint8 [N, H, W, 1]."""
        return self.from_array(np.array(values))

    def from_array(self, array: np.ndarray) -> np.ndarray:
        """Whole numbers [N, H, W] or [N, H, W, C] -> uint8 [N, H, W, C]."""
        fits = array.ndim in (3, 4) and array.shape[1:] in (self.shape, self.shape[:2])
        if not fits or not 1 <= len(array) <= MAX_BATCH:
            raise ValueError(f"shape {array.shape}; allowed: [1..{MAX_BATCH}, {self.shape}]")
        if array.dtype != np.uint8:
            if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
                raise ValueError("allowed: whole numbers from 0 to 255")
            array = array.astype(np.uint8)
        return array.reshape(-1, *self.shape)

    def from_bytes(self, body: bytes) -> np.ndarray:
        """Raw pixels -> uint8 [N, H, W, C]."""
        count, rest = divmod(len(body), self._example_bytes)
        if rest or not 1 <= count <= MAX_BATCH:
            raise ValueError(f"{len(body)} bytes; allowed: 1 to {MAX_BATCH} times {self._example_bytes}")
        return np.frombuffer(body, np.uint8).reshape(count, *self.shape)

    def from_png(self, body: bytes) -> np.ndarray:
        """A PNG of the model's size -> uint8 [1, H, W, C]."""
        try:
            return self.from_picture(Image.open(io.BytesIO(body), formats=("PNG",)))
        except OSError as error:
            raise ValueError(f"not a PNG: {error}") from error

    def from_picture(self, picture: Image.Image) -> np.ndarray:
        """An opened picture of the model's size -> uint8 [1, H, W, C]; its header is looked at before it is decoded."""
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        if (picture.height, picture.width) != self.shape[:2]:
            picture = picture.resize((self.shape[1], self.shape[0]))
        return np.asarray(picture.convert("L")).reshape(1, *self.shape)
