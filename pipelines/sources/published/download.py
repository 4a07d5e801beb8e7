"""Download of a file from a list of mirrors: resumable, and verified before it gets its final name."""

import sys
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import requests
import urllib3
from filelock import FileLock
from tqdm import tqdm

from models.errors import InputError, one_line
from pipelines.artifacts.atomic import naming
from pipelines.sources.published.pinned import PinnedFile, verify

CONNECT_SECONDS = 10
READ_SECONDS = 30  # between two blocks
BLOCK = 1 << 18  # bytes
GZIP_OVERHEAD = 1 << 16  # bytes that gzip may add to incompressible content


def fetch(pinned: PinnedFile, mirrors: Sequence[str], folder: Path) -> Path:
    """Download `pinned.name` into `folder` from the first of `mirrors` (URLs of folders) that provides it.

    Until its content is verified, the file is called `<name>.part`; a later call resumes it. Raises InputError with
    the reason for each mirror, and OSError if the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / pinned.name, folder / f"{pinned.name}.part"
    with naming(part), FileLock(folder / f"{pinned.name}.lock"):
        if not target.exists():  # another process may have downloaded it meanwhile
            _download_from_any(pinned, mirrors, part)
            part.replace(target)
    return target


def _download_from_any(pinned: PinnedFile, mirrors: Sequence[str], part: Path) -> None:
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{pinned.name}"
        print(f"downloading {url}", flush=True)
        try:
            return _download(url, part, pinned)
        except (InputError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures.append(f"{url}: {_reason(error).removeprefix(f'{part}: ')}")
            print(failures[-1], flush=True)
    advice = "download it manually and set data.path to its folder"
    raise InputError(f"{pinned.name}: no mirror provides it: {'; '.join(failures)}; {advice}")


def _download(url: str, part: Path, pinned: PinnedFile) -> None:
    """Receive and verify; if a resumed file is wrong, restart, as mirrors may compress the file differently."""
    resumed = _receive(url, part, pinned.size + GZIP_OVERHEAD)
    try:
        verify(part, pinned)
    except InputError:
        part.unlink()
        if not resumed:
            raise
        _download(url, part, pinned)


def _receive(url: str, part: Path, limit: int) -> bool:
    """Write at most about `limit` bytes to `part`; True if an existing part was resumed."""
    offset = part.stat().st_size if part.exists() else 0
    # `identity`: the server must not compress the file again
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            part.unlink()
            return _receive(url, part, limit)
        resumed = _continues(response, offset)
        with part.open("ab" if resumed else "wb") as file:
            for block in _blocks(response, part.stem, offset if resumed else 0):
                file.write(block)
                if file.tell() > limit:
                    break  # not the expected file; the verification will fail
    return resumed


def _continues(response: requests.Response, offset: int) -> bool:
    """True if the response starts at `offset`. Raises InputError if it is not the file."""
    content_type = response.headers.get("Content-Type", "")
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        span = response.headers.get("Content-Range", "")
        if not offset or not span.startswith(f"bytes {offset}-"):
            raise InputError(f"answered with the range {span!r}; allowed: bytes {offset}-")
    elif response.status_code != HTTPStatus.OK:
        raise InputError(f"status {response.status_code} {response.reason}".rstrip())
    if content_type.startswith("text/html"):
        raise InputError("a web page (text/html) instead of the file")
    return response.status_code == HTTPStatus.PARTIAL_CONTENT


def _blocks(response: requests.Response, name: str, offset: int) -> Iterator[bytes]:
    """The body without decoding, with a progress bar on a terminal."""
    length = response.headers.get("Content-Length", "")
    total = offset + int(length) if length.isdigit() else None
    hidden = not sys.stderr.isatty()
    with tqdm(desc=name, total=total, initial=offset, unit="B", unit_scale=True, disable=hidden) as bar:
        for block in response.raw.stream(BLOCK, decode_content=False):
            bar.update(len(block))
            yield block


def _reason(error: Exception) -> str:
    """One line instead of the nested messages of requests and urllib3."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s to connect or {READ_SECONDS} s to read"
    if isinstance(error, requests.ConnectionError):
        return f"no connection ({type(error).__name__})"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "connection closed before the announced length"
    return one_line(error)
