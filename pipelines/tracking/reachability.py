"""Check that a tracking store can be reached, within seconds; MLflow itself retries for minutes."""

import socket
from urllib.parse import urlsplit

import requests
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from models.errors import InputError, one_line

CONNECT_TIMEOUT = 5.0  # seconds
SERVER_ERROR = 500  # lowest HTTP status that means a failure of the server or of a proxy
DATABASE_PORTS = {"sqlite": 0, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def require(address: str, public_address: str, verify: bool | str) -> None:
    """Raise InputError, with `public_address`, if the server or database at `address` cannot be reached.

    Other kinds of addresses are left to MLflow. `verify` is a file of CA certificates, or whether TLS is verified.
    """
    scheme = urlsplit(address).scheme.partition("+")[0]
    try:
        if scheme in ("http", "https"):
            _request(address, verify)
        elif scheme in DATABASE_PORTS:
            _connect(address, DATABASE_PORTS[scheme])
    except requests.RequestException as error:
        raise _unreachable(public_address, type(error).__name__) from error
    except (OSError, ValueError, ImportError, SQLAlchemyError) as error:
        raise _unreachable(public_address, one_line(error.__cause__ or error)[:200]) from error


def _unreachable(address: str, reason: str) -> InputError:
    return InputError(
        f"MLFLOW_TRACKING_URI = {address}: not reachable ({reason}); start it, or unset it for a local store"
    )


def _request(address: str, verify: bool | str) -> None:
    """Raise an exception if there is no response or a server error; other statuses are left to MLflow."""
    response = requests.get(address, timeout=CONNECT_TIMEOUT, stream=True, verify=verify)
    response.close()
    if response.status_code >= SERVER_ERROR:
        raise ConnectionError(f"it answers HTTP {response.status_code}")


def _connect(address: str, port: int) -> None:
    """Raise an exception if a database cannot be opened. The socket first: drivers have no connection timeout."""
    parts = urlsplit(address)
    if parts.hostname:
        socket.create_connection((parts.hostname, parts.port or port), CONNECT_TIMEOUT).close()
    engine = create_engine(address)
    engine.connect().close()
    engine.dispose()
