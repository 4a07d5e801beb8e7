"""Check of a bundle's signature, by OpenSSF model-signing, with the public key that TANDEM_VERIFY_KEY names."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.errors import InputError, one_line

VARIABLE = "TANDEM_VERIFY_KEY"


def verify(files: Mapping[str, bytes], signature: Path, key: Path) -> None:
    """Raise InputError unless `signature` is one of exactly these files, by name and content, made with this key."""
    config = _config(key)
    if not signature.is_file():
        raise InputError(f"{signature.parent}: not signed, which {VARIABLE} requires: no file {signature.name}")
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            config.verify(Path(folder), signature)
        except Exception as error:  # of several libraries, for anything that the file may contain
            reason = one_line(error)[:200]
            raise InputError(f"{signature.parent}: the signature is not valid for {key}: {reason}") from None


def _config(key: Path) -> Any:
    """The verifier. Raises InputError if the key or model-signing cannot be used."""
    try:
        from model_signing import verifying

        return verifying.Config().use_elliptic_key_verifier(public_key=key)
    except ImportError:
        raise InputError(f"{VARIABLE}: model-signing is not installed; use `uv run --extra signing`") from None
    except (OSError, ValueError, AttributeError) as error:  # no file; no key; of another kind
        raise InputError(f"{VARIABLE}: {key}: not a public key of an elliptic curve, PEM: {error}") from error
