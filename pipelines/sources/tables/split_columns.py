"""Columns by which rows are assigned to splits: `prepare.group` and `prepare.order`."""

from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.sources.tables import columns, date_features
from pipelines.sources.tables.number_format import Decimal

UNITS = {"us": 1, "ns": 1000}  # of Arrow's timestamps, and how many of them are a microsecond
ISO_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:"


def select(path: Path, names: list[str], group: str | None, order: str | None) -> tuple[str, ...]:
    """Those of the two columns that are given. Raises InputError if the file lacks one of them."""
    for key, name in (("group", group), ("order", order)):
        if name is not None and name not in names:
            raise InputError(f"prepare.{key} = {name!r}; allowed: a column of {path}: {', '.join(names)}")
    return tuple(name for name in (group, order) if name is not None)


def groups(path: Path, name: str, array: Any, config: DataSource) -> NDArray[np.int64]:
    """A number for each value of a column, int64 [N]. Raises InputError where one is missing, and for nested values."""
    array, where = columns.normalized(array, config.missing), f"{path}: prepare.group, column '{name}'"
    _require_complete(where, np.asarray(array.is_null()))
    try:
        return np.asarray(pc.dictionary_encode(array).indices, np.int64)
    except pa.ArrowNotImplementedError as error:
        raise InputError(f"{where} is of type {array.type}; allowed: numbers, text, dates or times") from error


def order(path: Path, name: str, array: Any, config: DataSource, decimal: Decimal) -> NDArray[np.float64]:
    """Numbers that ascend as those or the times in a column do, float64 [N].

    Raises InputError where one is missing, and for values that are neither numbers nor dates.
    """
    array, where = columns.normalized(array, config.missing), f"{path}: prepare.order, column '{name}'"
    _require_complete(where, np.asarray(array.is_null()))
    if kind := date_features.kind(array):
        if kind != "dates":  # decimal months too, as their order differs from that of the numbers
            raise InputError(f"{where} holds {kind} such as '{array[0]}'; allowed: numbers or dates")
        return _times(where, array, config)
    column = columns.parse(path, name, array, config=config, decimal=decimal, advice="choose another prepare.order")
    if column.categories:
        raise InputError(f"{where} holds text such as '{column.categories[0][:40]}'; allowed: numbers or dates")
    return column.values


def _times(where: str, array: Any, config: DataSource) -> NDArray[np.float64]:
    """Microseconds since 1970 of times in ISO 8601 or of a temporal type, days of other dates."""
    if pa.types.is_time(array.type) or pa.types.is_duration(array.type) or pa.types.is_interval(array.type):
        raise InputError(f"{where} is of type {array.type}; allowed: numbers or dates")
    # all texts without an offset such as +02:00, or all with one; as nanoseconds if one has more than six decimals
    for unit, zone in product(UNITS, (None, "UTC")):
        with suppress(pa.ArrowInvalid):
            times = pc.cast(array, pa.timestamp(unit, zone), safe=False).cast(pa.int64())
            return np.asarray(times.to_numpy(zero_copy_only=False) // UNITS[unit], np.float64)
    days = date_features.days(where, array, config.day_first)
    _require_no_times(where, array)
    return days.astype(np.float64)


def _require_no_times(where: str, array: Any) -> None:
    """Raise InputError for a time that is not of ISO 8601, or is of another notation than other times."""
    times = np.flatnonzero(np.asarray(pc.match_substring_regex(array, ISO_TIME)))
    if len(times):
        row = int(times[0])
        raise InputError(
            f"{where} holds '{str(array[row])[:40]}' in row {row + 1}, and not all values are times of ISO 8601 in one "
            "notation; allowed: times such as 2026-01-31 12:00:00.5 with up to 9 decimals, all with an offset (+02:00, "
            "Z) or none"
        )


def _require_complete(where: str, missing: NDArray[np.bool_]) -> None:
    if missing.any():
        row = int(missing.argmax()) + 1
        raise InputError(f"{where} is missing in {missing.sum()} of {len(missing)} rows, first in {row}; allowed: none")
