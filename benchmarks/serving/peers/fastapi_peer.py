"""FastAPI in front of ONNX Runtime, with as little as possible between them."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import orjson
from fastapi import FastAPI, HTTPException, Request, Response, UploadFile

from benchmarks.serving.peers.model import MAX_BODY_BYTES, Model


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Exclude loaded objects from garbage collection."""
    gc.collect()
    gc.freeze()
    yield


model = Model()
app = FastAPI(openapi_url=None, lifespan=_lifespan)


@app.get("/ready")
async def ready() -> Response:
    """200 once the model is loaded."""
    return Response()


@app.post("/json")
async def from_json(request: Request) -> Response:
    """`{"inputs": [N][H][W]}` -> labels and probabilities."""
    try:
        images = model.from_lists(orjson.loads(await _body(request))["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise HTTPException(400, str(error)) from error
    return _answer(model.run(images))


@app.post("/binary")
async def from_binary(request: Request) -> Response:
    """Raw pixels -> raw float32."""
    try:
        images = model.from_bytes(await _body(request))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return Response(model.run(images).tobytes(), media_type="application/octet-stream")


@app.post("/png")
async def from_png(request: Request) -> Response:
    """A PNG as the body -> label and probabilities."""
    return _picture(await _body(request))


@app.post("/form")
async def from_form(files: UploadFile) -> Response:
    """A PNG in a form -> label and probabilities."""
    return _picture(await files.read(MAX_BODY_BYTES))


def _picture(body: bytes) -> Response:
    try:
        images = model.from_png(body)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return _answer(model.run(images))


def _answer(probabilities: np.ndarray) -> Response:
    answer = {"labels": probabilities.argmax(axis=1), "probabilities": probabilities}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


async def _body(request: Request) -> bytes:
    """The body; rejected if its declared or actual size exceeds the limit."""
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise HTTPException(413)
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise HTTPException(413)
        chunks.append(chunk)
    return b"".join(chunks)
