"""Cross-origin resource sharing: none, unless origins are configured."""

from starlette.middleware.cors import CORSMiddleware

from serving.http.messages import ASGIApp

EXPOSED_HEADERS = ("x-request-id", "x-model-version", "server-timing", "inference-header-content-length")


def allow(application: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application, with CORS headers for `origins` if there are any; "*" allows all."""
    if not origins:
        return application
    return CORSMiddleware(
        application, origins, allow_methods=("GET", "POST"), allow_headers=("*",), expose_headers=EXPOSED_HEADERS
    )
