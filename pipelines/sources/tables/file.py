"""A table in a file as Arrow columns, and which of them are learned from."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import csv, parquet

from models.errors import InputError
from pipelines.config.params import DataSource

INDEX = re.compile(r"__index_level_\d+__")  # what pandas calls the numbers of its rows


class Chosen(NamedTuple):
    """The names of the columns that are learned from, and of the one that is learned."""

    features: tuple[str, ...]
    target: str


def read(path: Path) -> Any:
    """The `pyarrow.Table` in a file, its names without the space around them; every column of a CSV file is text.

    Raises InputError where the file is no table, or has no row, or names a column twice or not at all.
    """
    is_text = path.suffix.lower() != ".parquet"
    try:
        table = _read_text(path) if is_text else _read_parquet(path)
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # Arrow raises OSError for a broken page
        allowed = "one header and rows of equal length, in UTF-8" if is_text else "a whole Parquet file"
        raise InputError(f"{path}: {' '.join(str(error).split())}; allowed: {allowed}") from error
    if not table.num_rows:
        raise InputError(f"{path}: no rows under the header; allowed: one or more")
    return table.rename_columns(_names(path, table.column_names))


def choose(path: Path, names: list[str], config: DataSource) -> Chosen:
    """The columns of `data.features`, or all but `data.target`. Raises InputError where the file lacks one."""
    if config.target not in names:
        found = "null" if config.target is None else repr(config.target)
        raise InputError(f"data.target = {found}; allowed: a column of {path}: {', '.join(names)}")
    features = tuple(name for name in names if name != config.target) if config.features is None else config.features
    if wrong := [name for name in features if name not in names or name == config.target]:
        allowed = ", ".join(name for name in names if name != config.target)
        raise InputError(f"data.features: {', '.join(wrong)}; allowed: columns of {path} but the target: {allowed}")
    if index := [name for name in features if INDEX.fullmatch(name)]:
        found = f"column '{index[0]}' is the index that pandas wrote, which numbers the rows"
        raise InputError(f"{path}: {found}; write the file with index=False, or leave it out by data.features")
    if not features:
        raise InputError(f"{path}: no column but the target '{config.target}'; allowed: one or more to learn from")
    return Chosen(features, config.target)


def _read_text(path: Path) -> Any:
    """In one thread, so that an error can name the row."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    options: dict[str, Any] = {
        "read_options": csv.ReadOptions(use_threads=False),
        "parse_options": csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    }
    names = csv.open_csv(path, **options).schema.names
    _names(path, names)
    text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return csv.read_csv(path, convert_options=text, **options)


def _read_parquet(path: Path) -> Any:
    """The names first, as Arrow refuses a file with one twice in words of its own; folders add no columns."""
    _names(path, parquet.read_schema(path).names)
    return parquet.read_table(path, partitioning=None)


def _names(path: Path, found: list[str]) -> list[str]:
    """The names without the space around them. Raises InputError where one is missing or twice, or all are in one."""
    names = [name.strip() for name in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: column '{twice[0]}' comes {names.count(twice[0])} times; allowed: each name once")
    if "" in names:
        raise InputError(f"{path}: column {names.index('') + 1} has no name; name it, or write no row numbers")
    if len(names) == 1 and ";" in names[0]:
        raise InputError(f"{path}: one column, '{names[0]}'; allowed: columns separated by commas, or tabs in .tsv")
    return names
