"""Corrects the local store of a folder that was moved or copied: `python -m pipelines.tracking.relocation`.

MLflow records where artifacts are by absolute addresses. Without a correction, those of earlier runs are missing, and
those of new runs are written to the old place. Every stage that opens the store does the same as this command.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from models.errors import InputError, one_line

# Where MLflow keeps addresses of artifacts.
COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def main() -> None:
    """Correct the store of the workspace."""
    from pipelines.tracking import store

    store.connect()


def outdated(database: Path, folder: Path) -> list[str]:
    """Addresses of artifact folders of the same name as `folder` that experiments were created with elsewhere.

    Raises InputError if the database cannot be read.
    """
    if not database.exists():
        return []
    with _opened(database) as connection:
        known = connection.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchall()
        query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%/' || ?"
        locations = [row[0] for row in connection.execute(query, (folder.name,))] if known else []
    return [location for location in locations if location != folder.as_uri()]


def correct(database: Path, folder: Path) -> None:
    """Replace addresses of an earlier place by those of `folder`, all or none, and print what was replaced.

    Raises InputError if the database cannot be written to.
    """
    for old in outdated(database, folder):
        with _opened(database) as connection, connection:
            for table, columns in COLUMNS.items():
                for column in columns:
                    _replace_prefix(connection, table, column, old, folder.as_uri())
        print(
            f"{database}: the folder was moved or copied; artifacts recorded in {old} are now in {folder}", flush=True
        )


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection; its errors are raised as InputError with the name of the file."""
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise InputError(f"{database}: not usable as the local MLflow store ({one_line(error)})") from error


def _replace_prefix(connection: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    """Names of tables and columns are constants, addresses are bound."""
    connection.execute(
        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
        f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
        {"old": old, "new": new},
    )


if __name__ == "__main__":
    from pipelines.execution import stage

    stage.run(main, __doc__)
