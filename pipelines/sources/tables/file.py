"""Reading of table files with Arrow, and selection of columns."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from models.errors import MAX_VALUE_LENGTH, InputError, one_line
from pipelines.config.params import DataSource
from pipelines.sources.tables import text_format
from pipelines.sources.tables.text_format import TextFormat

INDEX = re.compile(r"__index_level_\d+__")  # name that pandas gives to its index
UNEQUAL = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)")  # by Arrow, which counts the header


ROWS = "one header and rows of equal length (data.separator, data.encoding)"


class Selection(NamedTuple):
    """Names of the feature columns and of the target column."""

    features: tuple[str, ...]
    target: str


class TableFile(NamedTuple):
    """A `pyarrow.Table` whose column names have no line breaks, and the format of a text file, None of Parquet."""

    table: Any
    text: TextFormat | None


def read(path: Path, config: DataSource) -> TableFile:
    """The table in a file; all columns of a CSV or TSV file have type string, rows without any value are left out.

    Raises InputError if the file is not a table, has no rows, or has missing or duplicate column names; also as
    `text_format.detect`.
    """
    text = None if path.suffix.lower() == ".parquet" else text_format.detect(path, config)
    try:
        table = _read_text(path, text) if text else _read_parquet(path)
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # Arrow raises OSError for a damaged page
        if "Empty CSV file" in str(error):
            raise InputError(f"{path}: the file is empty; allowed: {ROWS}") from error
        allowed = f"{ROWS}, in {text.encoding}, separated by {text.separator!r}" if text else "a complete Parquet file"
        raise InputError(f"{path}: {_problem(error)}; allowed: {allowed}") from error
    if text:
        table, notes = _without_empty(table)
        _require_quotes_at_start(path, table)
        text = text._replace(notes=(*text.notes, *notes, *_notes_on_line_breaks(table)))
    if not table.num_rows:
        raise InputError(f"{path}: no rows under the header; allowed: one or more")
    return TableFile(table.rename_columns(_names(path, table.column_names)), text)


def select(path: Path, names: list[str], config: DataSource, others: Sequence[str] = ()) -> Selection:
    """The columns `data.features`, or all but `data.target` and the `others`, by which rows are assigned to splits.

    Raises InputError if the file lacks one of them.
    """
    if config.target not in names:
        raise InputError(f"data.target = {config.target!r}; allowed: a column of {path}: {', '.join(names)}")
    rest = tuple(name for name in names if name not in (config.target, *others))
    features = rest if config.features is None else config.features
    if invalid := [name for name in features if name not in names or name == config.target]:
        allowed = ", ".join(name for name in names if name != config.target)
        raise InputError(f"data.features: {', '.join(invalid)}; allowed: feature columns of {path}: {allowed}")
    if index := [name for name in features if INDEX.fullmatch(name)]:
        problem = f"column '{index[0]}' is the index of a pandas DataFrame"
        raise InputError(f"{path}: {problem}; write the file with index=False, or exclude it with data.features")
    _require_columns("data.categories", config.categories, (*features, config.target))
    _require_columns("data.dates", config.dates, features)
    if not features:
        raise InputError(f"{path}: no column except the target '{config.target}'; allowed: one or more features")
    return Selection(features, config.target)


def _require_columns(key: str, names: Sequence[str] | None, allowed: Sequence[str]) -> None:
    if invalid := [name for name in names or () if name not in allowed]:
        raise InputError(f"{key}: {', '.join(invalid)}; allowed: columns that are read: {', '.join(allowed)}")


def _read_text(path: Path, text: TextFormat) -> Any:
    """Read in one thread, so that an error can include the row."""
    options: dict[str, Any] = {
        "read_options": csv.ReadOptions(use_threads=False, encoding=text.encoding),
        "parse_options": csv.ParseOptions(delimiter=text.separator, newlines_in_values=True),
    }
    names = csv.open_csv(path, **options).schema.names
    _names(path, _named(names))
    strings = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return csv.read_csv(path, convert_options=strings, **options)


def _problem(error: Exception) -> str:
    """The message of Arrow, with rows numbered from 1 under the header, as in other messages."""
    message = one_line(error)
    if not (wrong := UNEQUAL.search(message)):
        return message
    row, header, columns, text = wrong.groups()
    problem = f"columns in row {int(row) - 1} under the header: {columns}, in the header: {header} ({text})"
    return f"{problem}; remove lines above the header, if there are any" if row == "2" else problem


def _named(names: list[str]) -> list[str]:
    """The names up to the last one that is not empty: separators at the end of the lines add columns without a name."""
    return names[: max((index for index, name in enumerate(names, 1) if name.strip()), default=len(names))]


def _without_empty(table: Any) -> tuple[Any, list[str]]:
    """The table without the rows and the last columns that spreadsheets add without any value, and notes on them."""
    notes, names = [], _named(table.column_names)
    empty = [pc.equal(pc.utf8_trim_whitespace(column), "") for column in table.columns]
    if len(names) < len(empty) and all(pc.all(values).as_py() for values in empty[len(names) :]):
        notes.append(f"columns at the end without name and values are left out: {len(empty) - len(names)}")
        table, empty = table.select(range(len(names))), empty[: len(names)]
    if count := pc.sum(rows := reduce(pc.and_, empty)).as_py():
        notes.append(f"rows without any value are left out and not counted: {count}")
        table = table.filter(pc.invert(rows))
    return table, notes


def _require_quotes_at_start(path: Path, table: Any) -> None:
    """Raise InputError for a name or a value that is quoted after a space: the quotes would be a part of it."""
    header = pa.array(table.column_names)
    for place, texts in [("the header", header), *zip(map(repr, table.column_names), table.columns, strict=True)]:
        index = pc.index(_are_spaced_quotes(texts), True).as_py()
        if index >= 0:
            where = place if texts is header else f"column {place}, row {index + 1}"
            value = one_line(texts[index])[:MAX_VALUE_LENGTH]
            allowed = "a quote directly after the separator, or text that does not begin with a space"
            raise InputError(f"{path}: {where}: {value} is quoted after a space; allowed: {allowed}")


def _are_spaced_quotes(texts: Any) -> Any:
    """For each text, whether it is one in quotes with a space before them."""
    trimmed = pc.utf8_trim_whitespace(texts)
    quoted = pc.and_(pc.starts_with(trimmed, '"'), pc.ends_with(trimmed, '"'))
    return pc.and_not(pc.and_(quoted, pc.greater(pc.utf8_length(trimmed), 1)), pc.starts_with(texts, '"'))


def _notes_on_line_breaks(table: Any) -> Iterator[str]:
    """A note on each column with a text of several lines: a quote that is not closed swallows the next rows."""
    for name, texts in zip(table.column_names, table.columns, strict=True):
        row = pc.index(pc.match_substring(texts, "\n"), True).as_py()
        if row >= 0:
            yield f"column '{name}' holds a quoted text of several lines in row {row + 1}"


def _read_parquet(path: Path) -> Any:
    """Read without partition columns from folder names, after the column names have been checked."""
    _names(path, parquet.read_schema(path).names)
    return parquet.read_table(path, partitioning=None)


def _names(path: Path, names: list[str]) -> list[str]:
    """Names with single spaces in place of line breaks. Raises InputError if one is missing or duplicate."""
    names = [" ".join(name.split()) for name in names]
    if "" in names:
        advice = "name it, write no row numbers, or remove lines above the header"
        raise InputError(f"{path}: column {names.index('') + 1} has no name; {advice}")
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise InputError(f"{path}: column '{name}' occurs {count} times; allowed: each name once")
    return names
