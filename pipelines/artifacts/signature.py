"""Signature of a champion bundle by OpenSSF model-signing, beside champion.json.

See https://github.com/sigstore/model-transparency for the format. Nothing is sent over the network.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from models.errors import InputError
from models.manifest import MANIFEST, signature_file

VARIABLE = "TANDEM_SIGNING_KEY"


def signer() -> Callable[[Path], None] | None:
    """A function that signs the bundle in a folder with the key that TANDEM_SIGNING_KEY names; None without a key.

    The key is the private one of an elliptic curve, PEM. Raises InputError if it or model-signing cannot be used.
    """
    if not (key := os.environ.get(VARIABLE)):
        return None
    try:
        from model_signing import signing

        config = signing.Config().use_elliptic_key_signer(private_key=Path(key))
    except ImportError:
        raise InputError(f"{VARIABLE}: model-signing is not installed; use `uv run --extra signing`") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:  # no file; no key; encrypted; of another kind
        raise InputError(
            f"{VARIABLE}: {key}: not a private key of an elliptic curve, PEM, unencrypted: {error}"
        ) from None

    def sign(folder: Path) -> None:
        signature = folder / signature_file((folder / MANIFEST).read_bytes())
        with TemporaryDirectory() as beside:  # all files in a folder are signed
            for file in (folder / MANIFEST, *folder.glob("*.onnx")):
                shutil.copy(file, beside)
            config.sign(Path(beside), signature)

    return sign
