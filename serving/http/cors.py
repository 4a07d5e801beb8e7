"""Which other sites' pages may call: none, unless they are listed."""

from starlette.middleware.cors import CORSMiddleware

from serving.http.messages import Application

READABLE = ("x-request-id", "x-model-version", "server-timing", "inference-header-content-length")


def allow(application: Application, origins: tuple[str, ...]) -> Application:
    """The application itself, or with answers that the browsers of `origins` pass on ("*" means all)."""
    if not origins:
        return application
    return CORSMiddleware(
        application, origins, allow_methods=("GET", "POST"), allow_headers=("*",), expose_headers=READABLE
    )
