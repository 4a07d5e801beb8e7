"""API keys: a single one, and named ones with quotas from a file that is read again whenever it changes."""

import asyncio
import hashlib
import hmac
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from models.errors import InputError
from serving.errors import RequestError
from serving.http import key_file
from serving.http.key_file import NamedKey
from serving.http.quota import Quota
from serving.settings import Settings

OnUse = Callable[[str, Literal["accepted", "over_quota"]], None]
log = logging.getLogger("bentoml.tandem")


class ApiKeys:
    """The keys that a worker accepts. Workers share their quotas through files in `folder`, if there is one.

    `on_use` receives the name and the result of each request with a named key.
    """

    def __init__(self, settings: Settings, folder: Path | None, on_use: OnUse) -> None:
        self._single = settings.api_key.encode()
        self._file = settings.api_keys_file
        self._poll_seconds = settings.poll_seconds
        self._folder = folder
        self._on_use = on_use
        self._keys: dict[bytes, tuple[NamedKey, Quota | None]] = {}  # by SHA-256
        self._fingerprint: tuple[int, ...] = ()
        self.required = bool(self._single or self._file)
        if self._file:
            self._fingerprint = _fingerprint(self._file)
            self._load(self._file)

    def is_valid(self, given: bytes) -> bool:
        """Return whether this key is accepted, or none is needed."""
        return not self.required or self._is_single(given) or self._find(given) is not None

    def admit(self, given: bytes) -> str:
        """Count a request with this key; the key's name if it has one.

        Raises RequestError: 401 for a missing or wrong key, 429 if its quota is used up.
        """
        if not self.required or self._is_single(given):
            return ""
        found = self._find(given)
        if found is None:
            headers = ((b"www-authenticate", b"Bearer"),)
            problem = "the key is not valid" if given else "a key is needed"
            raise RequestError(401, "key", f"{problem}: `x-api-key` or `Authorization: Bearer`", headers)
        key, quota = found
        if quota and (seconds := quota.take()):
            self._on_use(key.name, "over_quota")
            raise _over_quota(key, seconds)
        self._on_use(key.name, "accepted")
        return key.name

    async def watch(self) -> None:
        """Read the file again whenever it has changed, until cancelled; one with an error changes nothing."""
        while self._file:
            await asyncio.sleep(self._poll_seconds)
            await asyncio.to_thread(self._reload, self._file)

    def _is_single(self, given: bytes) -> bool:
        return bool(self._single) and hmac.compare_digest(given, self._single)

    def _find(self, given: bytes) -> tuple[NamedKey, Quota | None] | None:
        """The named key. The time of a look-up by SHA-256 depends on no part of a key that a client could guess."""
        return self._keys.get(hashlib.sha256(given).digest()) if self._keys else None

    def _reload(self, file: Path) -> None:
        fingerprint = _fingerprint(file)
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            self._load(file)
        except InputError as error:
            log.warning("keeping the former API keys: %s", error)
        else:
            log.info("%s: %d API keys", file, len(self._keys))

    def _load(self, file: Path) -> None:
        keys = key_file.read(file)
        limited = {key.name: key for key in keys.values() if key.per_minute}
        try:
            quotas = {name: Quota(key.name, key.per_minute or 0, self._folder) for name, key in limited.items()}
        except OSError as error:
            raise InputError(f"{file}: the quotas cannot be stored: {error.strerror}") from None
        self._keys = {digest: (key, quotas.get(key.name)) for digest, key in keys.items()}


def _over_quota(key: NamedKey, seconds: float) -> RequestError:
    wait = math.ceil(seconds)
    message = f"the quota of this key is used up: {key.per_minute} requests per minute; try again in {wait} s"
    return RequestError(429, "quota", message, ((b"retry-after", str(wait).encode()),))


def _fingerprint(file: Path) -> tuple[int, ...]:
    """What changes when the content or the permissions of the file do; nothing if there is no such file."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_ctime_ns, status.st_size, status.st_ino
