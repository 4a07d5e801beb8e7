"""Which other sites' pages may call: none, unless they are listed."""

from starlette.middleware.cors import CORSMiddleware

from serving.http.messages import ASGIApp

READABLE = ("x-request-id", "x-model-version", "server-timing", "inference-header-content-length")


def allow(application: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application itself, or with answers that the browsers of `origins` pass on ("*" means all)."""
    if not origins:
        return application
    return CORSMiddleware(
        application, origins, allow_methods=("GET", "POST"), allow_headers=("*",), expose_headers=READABLE
    )
