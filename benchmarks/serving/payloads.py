"""Images in the format of each server, and its answers as one array."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from PIL import Image

from benchmarks.serving.load import HOST, Read

JSON, BINARY, PNG, FORM = "JSON", "binary", "PNG", "PNG in a form"
PAYLOADS = (JSON, BINARY, PNG, FORM)
BOUNDARY = "----benchmark"


@dataclass(frozen=True)
class Body:
    """One request's body, its content type and further headers."""

    content: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


Write = Callable[[np.ndarray], Body]


@dataclass(frozen=True)
class Call:
    """The format of one payload of a server: `write` takes uint8 [N, H, W, C], `read` gives float32 [N, K]."""

    path: str
    write: Write
    read: Read

    def request(self, images: np.ndarray) -> bytes:
        """The whole HTTP request."""
        body = self.write(images)
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {HOST}",
            f"Content-Type: {body.content_type}",
            f"Content-Length: {len(body.content)}",
            *(f"{name}: {value}" for name, value in body.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body.content


def lists(images: np.ndarray) -> Body:
    """`{"inputs": [N][H][W]}`."""
    return _json({"inputs": (images if images.shape[-1] == 3 else images[..., 0]).tolist()})


def raw(images: np.ndarray) -> Body:
    """The pixels only."""
    return Body(images.tobytes(), "application/octet-stream")


def tensor(images: np.ndarray) -> Body:
    """The Open Inference Protocol's JSON, the numbers in one list."""
    return _json({"inputs": [_described(images) | {"data": images.ravel().tolist()}]})


def binary_tensor(images: np.ndarray) -> Body:
    """The Open Inference Protocol's binary tensor: a JSON header, then the pixels."""
    described = _described(images) | {"parameters": {"binary_data_size": images.nbytes}}
    header = orjson.dumps({"inputs": [described], "parameters": {"binary_data_output": True}})
    length = ("Inference-Header-Content-Length", str(len(header)))
    return Body(header + images.tobytes(), "application/octet-stream", (length,))


def png(images: np.ndarray) -> Body:
    """One image as a PNG."""
    return Body(_png(images), "image/png")


def form(images: np.ndarray) -> Body:
    """One image as a PNG in a multipart form, under the name `files`."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="picture.png"\r\n'
    content = head.encode() + b"Content-Type: image/png\r\n\r\n" + _png(images) + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Body(content, f"multipart/form-data; boundary={BOUNDARY}")


def read_tandem(body: bytes) -> np.ndarray:
    """`predictions[].probabilities`, by label in the order of the labels."""
    rows = orjson.loads(body)["predictions"]
    return np.array([list(row["probabilities"].values()) for row in rows], np.float32)


def read_probabilities(body: bytes) -> np.ndarray:
    """`probabilities`."""
    return np.array(orjson.loads(body)["probabilities"], np.float32)


def read_list(body: bytes) -> np.ndarray:
    """A list."""
    return np.array(orjson.loads(body), np.float32)


def read_tensor(body: bytes) -> np.ndarray:
    """The Open Inference Protocol's JSON."""
    (output,) = orjson.loads(body)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def read_raw(body: bytes) -> np.ndarray:
    """Raw float32."""
    return np.frombuffer(body, np.float32)


def read_behind_header(body: bytes) -> np.ndarray:
    """Raw float32 after the JSON of the Open Inference Protocol, which ends with the list of its outputs."""
    return np.frombuffer(body.partition(b"}]}")[2], np.float32)


def _described(images: np.ndarray) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": list(images.shape)}


def _json(document: dict[str, Any]) -> Body:
    return Body(orjson.dumps(document), "application/json")


def _png(images: np.ndarray) -> bytes:
    stream = io.BytesIO()
    picture = images[0] if images.shape[-1] == 3 else images[0, ..., 0]
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
