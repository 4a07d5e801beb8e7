"""Cross-origin resource sharing: none, unless origins are configured."""

from starlette.middleware.cors import CORSMiddleware

from serving.http.messages import ASGIApp, Headers

EXPOSED_HEADERS = (
    "x-request-id",
    "x-model-version",
    "server-timing",
    "inference-header-content-length",
    "retry-after",
)


def allow(application: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application, with CORS headers for `origins` if there are any; "*" allows all."""
    if not origins:
        return application
    return CORSMiddleware(
        application, origins, allow_methods=("GET", "POST"), allow_headers=("*",), expose_headers=EXPOSED_HEADERS
    )


def headers(origins: tuple[str, ...], origin: bytes) -> Headers:
    """The same headers for a response to `origin` that is not the application's."""
    allowed = b"*" if "*" in origins else origin
    if allowed != b"*" and origin.decode("latin-1") not in origins:
        return ()
    exposed = (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode())
    return ((b"access-control-allow-origin", allowed), exposed, (b"vary", b"Origin"))
