"""`POST /predict/image`: one image as the body, or one or several as a form."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from models.errors import InputError
from models.images import image
from models.images.structure import Structure
from serving.api import image_form, predict
from serving.api.json_values import first_names, summarize
from serving.api.schemas import ImageOptions
from serving.errors import RequestError, invalid
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.scheduling.image_decoder import ImageError
from serving.worker import Worker

INLINE_COST = 2_000_000  # nanoseconds of decoding that other requests may wait; more is done beside the event loop
OPTIONS = tuple(ImageOptions.model_fields)
Result = TypeVar("Result")


async def predict_image(worker: Worker, request: Request) -> Response:
    """One image or an `ImageForm` -> a `PredictResponse`. Raises RequestError."""
    champion = worker.champion
    if champion.spec.kind != "image":
        raise RequestError(409, "kind", "the input of this model is a table, not an image; use /predict")
    files, fields = await _files(request, worker.settings.max_files)
    query = request.query
    if twice := query.keys() & fields.keys():
        raise invalid(f"{first_names(twice)}: both in the query and in the form; allowed: in one of them")
    inputs, top_k, pixels = await _read(worker, champion, files, _options(query | fields), request)
    return await predict.respond(worker, request, champion, inputs, top_k, pixels)


async def run(worker: Worker, champion: Champion, files: list[bytes], options: dict[str, Any]) -> dict[str, Any]:
    """The `PredictResponse` for image files and `ImageOptions`, for callers in this process. Raises RequestError."""
    inputs, top_k, pixels = await _read(worker, champion, files, options)
    return await predict.run_inputs(worker, champion, inputs, top_k, pixels)


async def _read(
    worker: Worker, champion: Champion, files: list[bytes], options: dict[str, Any], request: Request | None = None
) -> tuple[np.ndarray, int | None, bool]:
    """The images, the number of labels to return, and whether the pixels are requested. Raises RequestError."""
    top_k = predict.check_top_k(options.get("top_k"), champion)
    if (returned := options.get("pixels", 0)) not in (0, 1):
        raise invalid(f"pixels: found {summarize(returned)}; allowed: 0 or 1")
    if not files:
        raise invalid("files: found none; allowed: one or several")
    inputs = await decode(worker, files, champion, request)
    return inputs, top_k, bool(returned)


def _options(parameters: dict[str, str]) -> dict[str, int]:
    """The options in the query and the form, all whole numbers. Raises RequestError."""
    if unknown := parameters.keys() - OPTIONS:
        raise invalid(f"unknown parameters: {first_names(unknown)}; allowed: {', '.join(OPTIONS)}")
    for name, value in parameters.items():
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise invalid(f"{name}: found {value[:50]!r}; allowed: a whole number")
    return {name: int(value) for name, value in parameters.items()}


async def _files(request: Request, max_files: int) -> tuple[list[bytes], dict[str, str]]:
    """The bytes of the images and the other fields of the form. Raises RequestError."""
    kind = request.media_type
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [await request.body()], {}
    if kind != "multipart/form-data":
        allowed = "multipart/form-data, image/* or application/octet-stream"
        raise RequestError(415, "media_type", f"content type {kind[:50]!r}; allowed: {allowed}")
    files, fields = await image_form.parse(request, max_files)
    if not files:
        raise invalid("the form has no file; send one or several under the name `files`")
    return files, fields


async def decode(worker: Worker, files: list[bytes], champion: Champion, request: Request | None = None) -> np.ndarray:
    """The images as uint8 [N, H, W, C]. Small ones are decoded here, others in a process that can be ended, and large
    ones there in the request's turn.

    Raises RequestError that names the invalid file. The structure of the files determines how long decoding takes.
    """
    structures = _read_headers(files, worker.settings.max_pixels)
    shape = champion.spec.shape
    if sum(structure.cost for structure in structures) <= INLINE_COST:
        images = [_checked(index, image.render, structure, shape) for index, structure in enumerate(structures, 1)]
        return images[0][np.newaxis] if len(images) == 1 else np.stack(images)
    try:
        return await worker.image_decoder.decode(structures, shape, request.wait_for_turn if request else None)
    except ImageError as error:
        raise _rejection(error.index + 1, error) from None


def _read_headers(files: list[bytes], max_pixels: int) -> list[Structure]:
    """The checked files, not yet decoded; `max_pixels` limits the sum of their pixels."""
    structures = [_checked(index, image.read_header, data, max_pixels) for index, data in enumerate(files, 1)]
    pixels = sum(structure.width * structure.height for structure in structures)
    if pixels > max_pixels:
        message = f"the {len(files)} images have {pixels} pixels; at most {max_pixels} are allowed"
        raise RequestError(400, "image", message)
    return structures


def _checked(index: int, step: Callable[..., Result], *arguments: object) -> Result:
    """One step of decoding. Raises RequestError that names the file by its index."""
    try:
        return step(*arguments)
    except InputError as error:
        raise _rejection(index, error) from None


def _rejection(index: int, error: InputError) -> RequestError:
    return RequestError(400, "image", f"file {index}: {error}")
