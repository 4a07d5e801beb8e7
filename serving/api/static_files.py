"""Static files for browsers: read once, sent with a content security policy that allows no other origin."""

from functools import cache
from pathlib import Path

from bentoml._internal import server as bentoml_server

from serving.http.messages import Request, Response
from serving.worker import Worker

OWN = Path(__file__).parents[1] / "web"
SWAGGER = Path(bentoml_server.__file__).parent / "static_content"
POLICY = (
    b"default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    b"style-src 'self' %b; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
}
MODULES = (
    "docs", "docs-examples", "drawing", "example", "image", "key", "layers", "model", "occlusion", "page", "pixels",
    "result", "service", "table",
)  # fmt: skip
FILES = {
    "/": OWN / "index.html",
    "/docs": OWN / "docs.html",
    "/docs/swagger-ui.css": SWAGGER / "swagger-ui.css",
    "/docs/swagger-ui-bundle.js": SWAGGER / "swagger-ui-bundle.js",
    **{f"/{name}.css": OWN / f"{name}.css" for name in ("theme", "page", "docs")},
    **{f"/{name}.js": OWN / f"{name}.js" for name in MODULES},
}


async def page(_: Worker, request: Request) -> Response:
    """The file of FILES at the request's path."""
    return _read(request.path)


@cache
def _read(path: str) -> Response:
    """The file at a path, with its headers; the script of Swagger UI sets inline styles."""
    file = FILES[path]
    policy = POLICY % (b"'unsafe-inline'" if path == "/docs" else b"")
    headers = ((b"content-security-policy", policy), (b"referrer-policy", b"no-referrer"))
    return Response(file.read_bytes(), content_type=TYPES[file.suffix], headers=headers)
