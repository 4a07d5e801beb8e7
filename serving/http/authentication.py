"""The API key of a request."""

import re

from serving.http.messages import Request

BEARER = re.compile(rb"bearer +([!-~]+)", re.IGNORECASE)


def given_key(request: Request) -> bytes:
    """The key that the request has as `x-api-key` or `Authorization: Bearer`, or nothing."""
    bearer = BEARER.fullmatch(request.header(b"authorization"))
    return request.header(b"x-api-key") or (bearer[1] if bearer else b"")
