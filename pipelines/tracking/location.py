"""Location of the MLflow store.

It is `MLFLOW_TRACKING_URI` if that is set, otherwise a SQLite file in the root of the workspace, which `mlflow ui`
opens by default.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import InputError


def workspace() -> Path:
    """The root of the user's workspace, also from within the copy that `dvc exp run --temp` creates."""
    here = Path.cwd().resolve()
    copies = (parent for parent in here.parents if parent.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((parent.parents[2] for parent in copies), here)


def uri() -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, or the SQLite file of the workspace by its absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local_uri()


def public_uri() -> str:
    """The tracking URI without user name, password and query, for display and records.

    Raises InputError, which does not contain it, if it is not valid.
    """
    try:
        parts = urlsplit(uri())
    except ValueError:
        # The reason may contain the password.
        raise InputError("MLFLOW_TRACKING_URI is not a valid address; allowed: such as http://HOST:PORT") from None
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if "://" in uri() else uri()


def is_local() -> bool:
    """Compared by URI, because `mlflow.set_tracking_uri` sets MLFLOW_TRACKING_URI as well."""
    return uri() == _local_uri()


def database() -> Path:
    """The file of the local store."""
    return workspace() / "mlflow.db"


def artifacts() -> Path:
    """The artifacts of the local store, beside it."""
    return workspace() / "mlartifacts"


def exists() -> bool:
    """False if the store is a local file that does not exist yet."""
    return not is_local() or database().exists()


def outboxes() -> Path:
    """The folder of records that are not yet delivered."""
    return workspace() / ".dvc" / "tmp" / "mlflow"


def outbox_address() -> str:
    """The address in outboxes: that of a local store remains the same if its folder is moved."""
    return "" if is_local() else public_uri()


def _local_uri() -> str:
    return f"sqlite:///{database()}"
