"""A file from the first mirror that gives it whole: resumed where it broke off, checked before it counts."""

import sys
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import requests
import urllib3
from filelock import FileLock
from tqdm import tqdm

from models.errors import InputError
from pipelines.artifacts.atomic import naming
from pipelines.sources.published.pinned import Pinned, verify

CONNECT_SECONDS = 10
READ_SECONDS = 30  # between two blocks
BLOCK = 1 << 18  # bytes
PACKING = 1 << 16  # bytes that gzip may add to what does not compress


def fetch(pinned: Pinned, mirrors: Sequence[str], folder: Path) -> Path:
    """Download `pinned.name` into `folder` from the first of `mirrors`, addresses of folders, that works.

    The file has its name only when its content was checked; until then it is `<name>.part`, which
    a later call continues. Raises InputError, naming each mirror and what went wrong there, and
    OSError where the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / pinned.name, folder / f"{pinned.name}.part"
    with naming(part), FileLock(folder / f"{pinned.name}.lock"):
        if not target.exists():  # another process may have fetched it while this one waited
            _from_any(pinned, mirrors, part)
            part.replace(target)
    return target


def _from_any(pinned: Pinned, mirrors: Sequence[str], part: Path) -> None:
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{pinned.name}"
        print(f"downloading {url}", flush=True)
        try:
            return _from_one(url, part, pinned)
        except (InputError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures.append(f"{url}: {_reason(error).removeprefix(f'{part}: ')}")
            print(failures[-1], flush=True)
    advice = "put the file into a folder of yours and name that in data.path"
    raise InputError(f"{pinned.name}: no mirror gave it: {'; '.join(failures)}; {advice}")


def _from_one(url: str, part: Path, pinned: Pinned) -> None:
    """Once more from the start where a resumed file is wrong: its beginning may be another mirror's packing."""
    resumed = _receive(url, part, pinned.size + PACKING)
    try:
        verify(part, pinned)
    except InputError:
        part.unlink()
        if not resumed:
            raise
        _from_one(url, part, pinned)


def _receive(url: str, part: Path, limit: int) -> bool:
    """Write at most about `limit` bytes to `part`; True where it continued what `part` held before."""
    have = part.stat().st_size if part.exists() else 0
    # `identity`: a .gz file is stored as it is, never unpacked on the way
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            part.unlink()
            return _receive(url, part, limit)
        resumed = _continues(response, have)
        with part.open("ab" if resumed else "wb") as file:
            for block in _shown(response, part.stem, have if resumed else 0):
                file.write(block)
                if file.tell() > limit:
                    break  # whatever this is, it is not the file; the check will say so
    return resumed


def _continues(response: requests.Response, have: int) -> bool:
    """Whether the answer goes on after `have` bytes. Raises InputError where it is not the file at all."""
    kind = response.headers.get("Content-Type", "")
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        span = response.headers.get("Content-Range", "")
        if not have or not span.startswith(f"bytes {have}-"):
            raise InputError(f"answered with the range {span!r}; allowed: bytes {have}-")
    elif response.status_code != HTTPStatus.OK:
        raise InputError(f"status {response.status_code} {response.reason}".rstrip())
    if kind.startswith("text/html"):
        raise InputError("a web page (text/html) in place of the file")
    return response.status_code == HTTPStatus.PARTIAL_CONTENT


def _shown(response: requests.Response, name: str, have: int) -> Iterator[bytes]:
    """The body as it was sent, with a progress bar where a terminal shows it."""
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdigit() else None
    hidden = not sys.stderr.isatty()
    with tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, disable=hidden) as bar:
        for block in response.raw.stream(BLOCK, decode_content=False):
            bar.update(len(block))
            yield block


def _reason(error: Exception) -> str:
    """One short line in place of the nested reports of requests and urllib3."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s to connect or {READ_SECONDS} s to read"
    if isinstance(error, requests.ConnectionError):
        return f"no connection ({type(error).__name__})"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "cut off before the announced end"
    return " ".join(str(error).split())
