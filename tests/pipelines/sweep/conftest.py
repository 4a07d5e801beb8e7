"""A PostgreSQL server of Debian's package, started for the tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy

from pipelines.execution.ports import free_port


@pytest.fixture
def postgresql(server: str) -> str:
    """The URL of an empty database."""
    url = sqlalchemy.make_url(server).set(database=f"sweeps_{uuid4().hex}")
    with sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {url.database}"))
    return url.render_as_string()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server on 127.0.0.1; skips the test where PostgreSQL is not installed."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp())  # the name of its socket must be short
    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -p {port}"
    try:
        _run(folder, programs / "initdb", "--auth", "trust", "--username", "tandem", "--pgdata", folder / "data")
        _run(
            folder,
            programs / "pg_ctl",
            "--pgdata",
            folder / "data",
            "--wait",
            "-l",
            folder / "log",
            "-o",
            options,
            "start",
        )
        yield f"postgresql+psycopg://tandem@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            _run(folder, programs / "pg_ctl", "--pgdata", folder / "data", "--mode", "immediate", "stop")
        shutil.rmtree(folder)


def _run(folder: Path, *command: object) -> None:
    """Run a program of PostgreSQL, which refuses to run as root, as its own user."""
    words = [str(word) for word in command]
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        words = ["runuser", "-u", "postgres", "--", *words]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
