"""`POST /predict/activations`: what the layers make of one picture, as small grey maps for people to look at."""

import asyncio
from base64 import b64encode
from typing import Any

import numpy as np
import orjson

from serving.api import predict_image
from serving.errors import RequestError
from serving.http.messages import Request, Response
from serving.inference.graph_layers import Layer
from serving.worker import Worker

MAPS = 32  # of a convolution's channels
UNITS = 1024  # of a dense layer's values
SIDE = 32  # longest side of a map in pixels


async def activations(worker: Worker, request: Request) -> Response:
    """One picture as the body -> its layers. Raises RequestError."""
    champion = worker.champion
    if champion.spec.kind != "image":
        raise RequestError(409, "kind", "this model reads tables, not pictures: there is nothing to look at")
    kind = request.media_type
    if not kind.startswith("image/") and kind != "application/octet-stream":
        allowed = "image/* or application/octet-stream"
        raise RequestError(415, "media_type", f"content type {kind[:50]!r}; allowed: {allowed}")
    picture = await predict_image.decode(worker, [await request.body()], champion)
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(worker.decoder, worker.activations.look, champion, picture)
    model = {"name": champion.name, "version": champion.version}
    return Response(orjson.dumps({"layers": [write(layer) for layer in found], "model": model}))


def write(layer: Layer) -> dict[str, Any]:
    """One layer as JSON: `maps` x `height` x `width` bytes in base64, 0 its lowest value and 255 its highest."""
    values = layer.values
    maps = values[:MAPS] if values.ndim == 3 else values.reshape(-1, 1, 1)[:UNITS]  # [maps, H, W]
    step = -(-max(maps.shape[1:]) // SIDE)
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
