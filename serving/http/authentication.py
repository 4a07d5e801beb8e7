"""API key authentication."""

import hmac
import re

from serving.http.messages import Request

BEARER = re.compile(rb"bearer +([!-~]+)", re.IGNORECASE)


def is_authorized(request: Request, key: str) -> bool:
    """True if no key is configured, or the request has it as `x-api-key` or `Authorization: Bearer`."""
    if not key:
        return True
    bearer = BEARER.fullmatch(request.header(b"authorization"))
    given = request.header(b"x-api-key") or (bearer[1] if bearer else b"")
    return hmac.compare_digest(given, key.encode())
