"""A table of your own: a CSV, TSV or Parquet file that fits into memory."""

from pathlib import Path

import numpy as np

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource
from pipelines.sources.options import refuse_others

ENDINGS = (".csv", ".tsv", ".parquet")
CHOOSE_ANOTHER = "choose another data.target"


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError where `data.path` names no such file."""
    refuse_others(config, ("path", "target", "features", "task"))
    allowed = f"allowed: a file that ends in {', '.join(ENDINGS)}"
    path = Path(config.path).expanduser() if config.path else None
    if path is None or path.suffix.lower() not in ENDINGS:
        raise InputError(f"data.path = {config.path or 'null'}; {allowed}")
    if not path.is_file():
        raise InputError(f"data.path = {config.path}: no such file; {allowed}")
    return str(path)


def load(config: DataSource) -> RawData:
    """The columns `data.features`, or all but the target, float32 [N, F], NaN where a value is missing.

    Categories are numbers in the order of their names. Raises InputError as `find`, and for a file or a
    column that cannot be learned from, naming it.
    """
    from pipelines.sources.tables import columns, file, targets  # Arrow, which other sources need not pay

    path = Path(find(config))
    frame = file.read(path)
    chosen = file.choose(path, frame.column_names, config)
    target = columns.parse(path, chosen.target, frame[chosen.target], CHOOSE_ANOTHER)
    labels, classes_or_values = targets.parse(path, target, config)
    parsed = [columns.parse(path, name, frame[name]) for name in chosen.features]
    table = Table(chosen.features, tuple(column.categories for column in parsed), missing=True)
    inputs = np.stack([column.values.astype(np.float32) for column in parsed], axis=1)
    rounded = [*parsed, target] if target.categories or not labels else parsed  # numbers of classes are exact
    notes = tuple(f"column '{column.name}' {odd}" for column in rounded if (odd := columns.odd(column)))
    return RawData(
        path.stem, labels, inputs, classes_or_values, None, None, str(path), chosen.target, table, notes=notes
    )
