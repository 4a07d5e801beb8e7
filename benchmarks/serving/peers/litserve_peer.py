"""LitServe: an HTTP server and an inference process for each worker, with queues between them."""

import os
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from benchmarks.serving.peers.model import MAX_BODY_BYTES, PORT, WORKERS, Model


class Peer(litserve.LitAPI):  # type: ignore[misc]
    """JSON lists [N][H][W], or a PNG in a form."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the model in an inference process."""
        self.model = Model()

    def decode_request(self, request: Request) -> np.ndarray:
        """The pixels uint8 [N, H, W, C]; LitServe has read the form or the JSON already."""
        content: Any = request
        try:
            if "files" in content:
                return self.model.from_png(content["files"].file.read())
            return self.model.from_lists(content["inputs"])
        except (ValueError, KeyError) as error:
            raise litserve.api.HTTPException(400, str(error)) from error

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities float32 [N, K]."""
        return self.model.run(x)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """Labels and probabilities."""
        return {"labels": output.argmax(axis=1).tolist(), "probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Peer(), accelerator="cpu", workers_per_device=int(os.environ[WORKERS]), max_payload_size=MAX_BODY_BYTES
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ[PORT]),
        num_api_servers=int(os.environ[WORKERS]),
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
