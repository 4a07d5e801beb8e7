"""A request and its response on one HTTP/1.1 connection."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})  # none is allowed in a header (RFC 9110, section 5.5)


class Cycle(RequestResponseCycle):
    """uvicorn's, but the head of a response with a `content-length` is checked and written as a whole.

    uvicorn checks each name and value with a pattern, which takes as long as a small model.
    """

    async def send(self, message: Any) -> None:
        """Send the head of the response, or a part of its body (ASGI 3)."""
        if self.response_started or self.disconnected or self.flow.write_paused or not self._start(message):
            await super().send(message)

    def _start(self, message: Any) -> bool:
        """Write the head; False unless it has a length of the body. Raises RuntimeError for a control character."""
        headers = [*self.default_headers, *message.get("headers", ())]
        fields = dict(headers)
        if b"content-length" not in fields or b"connection" in fields:
            return False
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        head = b"\r\n".join([STATUS_LINE[message["status"]][:-2], *map(b": ".join, headers), b"", b""])
        if len(head.translate(None, CONTROLS)) != len(head) - 2 * (len(headers) + 2):
            raise RuntimeError("a header of the response has a control character")
        self.response_started = True
        self.waiting_for_100_continue = self.chunked_encoding = False
        self.expected_content_length = int(fields[b"content-length"])
        self.transport.write(head)
        return True
