"""Sends requests over many connections, one after another on each; in a process of its own, to be fast enough.

`python -m tests.serving.attacks.client PORT CONNECTIONS RESPONSES REQUEST...`, with a REQUEST as `METHOD PATH`, until
there are so many responses to each. The connections are divided among the requests.
"""

import asyncio
import sys


async def send(port: int, request: str, answered: asyncio.Semaphore) -> None:
    """Send the request again and again until cancelled; `answered` is released by each response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(f"{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        assert head.startswith(b"HTTP/1.1 200"), head
        answered.release()


async def main(port: int, connections: int, responses: int, *requests: str) -> None:
    """Send each of `requests` until it has so many responses."""
    answered = [asyncio.Semaphore(0) for _ in requests]
    kinds = [each % len(requests) for each in range(connections)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(port, requests[kind], answered[kind])) for kind in kinds]
        for _ in range(responses):
            for each in answered:
                await each.acquire()
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
