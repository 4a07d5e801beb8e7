"""User-provided table: a CSV, TSV or Parquet file that fits into memory."""

from functools import partial
from pathlib import Path

import numpy as np

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource
from pipelines.config.sources import SUFFIXES

CHOOSE_ANOTHER = "choose another data.target"


def find(config: DataSource) -> str:
    """The path of the file. Raises InputError if `data.path` is not such a file or an unused option is set."""
    config.require_options()
    path = Path(config.path)
    if not path.is_file():
        raise InputError(
            f"data.path = {config.path}: no such file; allowed: a file that ends in {', '.join(SUFFIXES['csv'])}"
        )
    return str(path)


def load(config: DataSource, group: str | None = None, order: str | None = None) -> RawData:
    """The columns `data.features`, or all but the target, float32 [N, F], NaN for missing values.

    Categories are numbered in alphabetical order; dates are replaced by their features. The columns `group` and `order`
    assign rows to splits; they are features only if `data.features` names them. Raises InputError as `find`, and with
    the file and column if one of them is not valid.
    """
    from pipelines.sources.tables import columns, file, number_format, split_columns, targets  # Arrow is slow to import

    path = Path(find(config))
    frame, text = file.read(path, config)
    others = split_columns.select(path, frame.column_names, group, order)
    selected = file.select(path, frame.column_names, config, others)
    arrays = {name: columns.normalized(frame[name], config.missing) for name in (*selected.features, selected.target)}
    texts = {} if config.decimal else columns.free_texts(arrays, config)
    detected = number_format.decimal(path, texts, text)
    if not (config.decimal or detected.certain):
        columns.require_no_decimal_months(path, arrays, config)
    decimal = config.decimal or detected.decimal
    read = partial(columns.parse, path, config=config, decimal=decimal)
    target = read(selected.target, arrays[selected.target], advice=CHOOSE_ANOTHER)
    labels, classes_or_values = targets.parse(path, target, config)
    parsed = columns.expand_dates(path, {name: arrays[name] for name in selected.features}, config, read)
    table = Table(tuple(column.name for column in parsed), tuple(column.categories for column in parsed), missing=True)
    inputs = np.stack([column.values.astype(np.float32) for column in parsed], axis=1)
    rounded = [*parsed, target] if target.categories or not labels else parsed  # numeric classes are not rounded
    notes = [*(text.notes if text else ()), *detected.notes]
    notes += [f"column '{column.name}' {column.note}" for column in (*parsed, target) if column.note]
    notes += [f"column '{column.name}' {note}" for column in rounded if (note := columns.precision_note(column))]
    arrays_and_origin = inputs, classes_or_values, None, None, str(path)
    return RawData(
        path.stem,
        labels,
        *arrays_and_origin,
        selected.target,
        table,
        notes=tuple(notes),
        groups=split_columns.groups(path, group, frame[group], config) if group else None,
        order=split_columns.order(path, order, frame[order], config, decimal) if order else None,
    )
