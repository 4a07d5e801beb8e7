"""`POST /predict/activations`: the outputs of the layers for one image, as small grey maps for display."""

import asyncio
from base64 import b64encode
from typing import Any

import numpy as np
import orjson

from serving.api import predict_image
from serving.errors import RequestError, overloaded
from serving.http.messages import Request, Response
from serving.inference.graph_layers import Layer
from serving.worker import MAX_ACTIVATIONS, Worker

MAX_MAPS = 32  # channels of a convolution
MAX_UNITS = 1024  # values of a dense layer
MAX_SIDE = 32  # pixels of a map's longer side


async def activations(worker: Worker, request: Request) -> Response:
    """One image as the body -> an `ActivationsResponse`. Raises RequestError."""
    champion = worker.champion
    if champion.spec.kind != "image":
        raise RequestError(409, "kind", "the input of this model is a table, not an image")
    kind = request.media_type
    if not kind.startswith("image/") and kind != "application/octet-stream":
        allowed = "image/* or application/octet-stream"
        raise RequestError(415, "media_type", f"content type {kind[:50]!r}; allowed: {allowed}")
    content = await request.body()
    if worker.activations_places.locked():
        raise overloaded(f"{MAX_ACTIVATIONS} requests for activations are in progress already; try again in a second")
    async with worker.activations_places:
        image = await predict_image.decode(worker, [content], champion, request)
        request.leave_load()  # the thread has a low priority: predictions do not wait for it
        loop = asyncio.get_running_loop()
        layers = await loop.run_in_executor(worker.activations_thread, worker.activations.compute, champion, image)
    model = {"name": champion.name, "version": champion.version}
    return Response(orjson.dumps({"layers": [write(layer) for layer in layers], "model": model}))


def write(layer: Layer) -> dict[str, Any]:
    """A `LayerValues`: maps x height x width bytes in base64, 0 for the lowest value and 255 for the highest."""
    values = layer.values
    maps = values[:MAX_MAPS] if values.ndim == 3 else values.reshape(-1, 1, 1)[:MAX_UNITS]  # [maps, H, W]
    step = -(-max(maps.shape[1:]) // MAX_SIDE)
    maps = maps[:, ::step, ::step]
    low, high = float(maps.min()), float(maps.max())
    shares = (maps - low) / (high - low or 1)
    return {
        "name": layer.name,
        "operator": layer.operator,
        "shape": list(values.shape),
        "shown": list(maps.shape),
        "range": [low, high],
        "values": b64encode((255 * shares).round().astype(np.uint8).tobytes()).decode(),
    }
