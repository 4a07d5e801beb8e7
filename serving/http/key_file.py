"""A file of named API keys.

A line is `NAME KEY REQUESTS_PER_MINUTE`; KEY is the key, or `sha256:` and its SHA-256 in hexadecimal; the last field is
a number or `unlimited`. Lines that begin with # are comments. A name with several keys, as while one is replaced, has
one quota. No message contains anything of a line.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError

MAX_KEYS = 256  # the number of values of a label of the metrics, and of open files
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
KEY = re.compile(r"[!-~]+")
SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
RATE = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A client's name, and its requests per minute; None without a limit."""

    name: str
    per_minute: int | None


def read(file: Path) -> dict[bytes, NamedKey]:
    """The keys of the file by their SHA-256. Raises InputError with the line, but nothing of its content."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"TANDEM_API_KEYS_FILE: {file}: {reason}") from None
    keys: dict[bytes, NamedKey] = {}
    rates: dict[str, int | None] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            digest, key = _parse(line)
            if digest in keys:
                raise ValueError("this key is in the file twice")
            if rates.setdefault(key.name, key.per_minute) != key.per_minute:
                raise ValueError("this name has another quota above; allowed: one for all keys of a name")
            if len(keys) == MAX_KEYS:
                raise ValueError(f"more than {MAX_KEYS} keys")
        except ValueError as error:
            raise InputError(f"TANDEM_API_KEYS_FILE: {file}, line {number}: {error}") from None
        keys[digest] = key
    return keys


def _parse(line: str) -> tuple[bytes, NamedKey]:
    """The SHA-256 of the key, and its name and quota. Raises ValueError; the message has nothing of the line."""
    fields = line.split()
    if len(fields) != 3:
        raise ValueError(f"found {len(fields)} words; allowed: NAME KEY REQUESTS_PER_MINUTE")
    name, key, rate = fields
    if not NAME.fullmatch(name):
        raise ValueError("invalid name; allowed: 1 to 64 of A-Z a-z 0-9 _ . -")
    if not KEY.fullmatch(key) or (key.startswith("sha256:") and not SHA256.fullmatch(key)):
        raise ValueError("invalid key; allowed: printable ASCII, or `sha256:` and 64 digits 0-9 a-f")
    if not (rate == "unlimited" or RATE.fullmatch(rate)):
        raise ValueError("invalid requests per minute; allowed: a whole number from 1, or `unlimited`")
    hashed = SHA256.fullmatch(key)
    digest = bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(key.encode()).digest()
    return digest, NamedKey(name, None if rate == "unlimited" else int(rate))
