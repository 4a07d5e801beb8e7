"""Routes: how requests are answered, and how they appear in the OpenAPI document."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from serving.http.messages import Request, Response
from serving.worker import Worker

Json = dict[str, Any]
Handler = Callable[[Worker, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A path's method and handler, its access and its documentation.

    `name` is its label in the metrics, `id` its operation id where that differs; a route without a `tag` is not
    documented. A `public` route needs no key, a `probe` is answered however many requests are in progress, `images`
    routes exist for models of images only. `request` has the body's type by media type, `options` the parameters of the
    query, and `statuses` are those beyond the usual ones. Where `raw` is true, raw data can follow the JSON of request
    and response, as in Triton's binary tensor extension.
    """

    name: str
    handler: Handler
    tag: str = ""
    summary: str = ""
    response: Any = Json
    method: str = "GET"
    id: str = ""
    public: bool = False
    probe: bool = False
    images: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    options: type[BaseModel] | None = None
    raw: bool = False
    statuses: tuple[int, ...] = ()
