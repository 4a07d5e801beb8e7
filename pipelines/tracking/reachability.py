"""Whether a tracking store answers: asked before MLflow asks, which would try again for minutes."""

import socket
from urllib.parse import urlsplit

import requests
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from models.errors import InputError

CONNECT_TIMEOUT = 5.0  # seconds
SERVER_ERROR = 500  # HTTP statuses from here on: the server, or a proxy before it, cannot work
DATABASE_PORTS = {"sqlite": 0, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def require(address: str, shown: str, verify: bool | str) -> None:
    """Raise InputError where the server or database at `address` does not answer; other kinds are MLflow's to judge.

    It is called `shown` in the error. `verify` is a file of certificates, or whether those of TLS are checked.
    """
    scheme = urlsplit(address).scheme.partition("+")[0]
    try:
        if scheme in ("http", "https"):
            _ask(address, verify)
        elif scheme in DATABASE_PORTS:
            _connect(address, DATABASE_PORTS[scheme])
    except requests.RequestException as error:
        raise _unreachable(shown, type(error).__name__) from error
    except (OSError, ValueError, ImportError, SQLAlchemyError) as error:
        raise _unreachable(shown, " ".join(str(error.__cause__ or error).split())[:200]) from error


def _unreachable(shown: str, reason: str) -> InputError:
    return InputError(
        f"MLFLOW_TRACKING_URI = {shown}: not reachable ({reason}); start it, or unset it for a local store"
    )


def _ask(address: str, verify: bool | str) -> None:
    """Raise where no server answers, or only a proxy that stands before it. A refusal is MLflow's to explain."""
    answer = requests.get(address, timeout=CONNECT_TIMEOUT, stream=True, verify=verify)
    answer.close()
    if answer.status_code >= SERVER_ERROR:
        raise ConnectionError(f"it answers HTTP {answer.status_code}")


def _connect(address: str, port: int) -> None:
    """Raise where a database cannot be opened; the socket first, for drivers wait without end for a silent host."""
    parts = urlsplit(address)
    if parts.hostname:
        socket.create_connection((parts.hostname, parts.port or port), CONNECT_TIMEOUT).close()
    engine = create_engine(address)
    engine.connect().close()
    engine.dispose()
