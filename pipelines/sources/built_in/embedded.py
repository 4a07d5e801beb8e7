"""Tables that are part of scikit-learn, under the name of their source."""

import numpy as np

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource
from pipelines.sources.options import refuse_others


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError where `data.path` is set, for there is no file to look for."""
    if config.path is not None:
        raise InputError(f"data.path = {config.path!r}; allowed: null, as {config.source} is part of scikit-learn")
    refuse_others(config, ())
    return "scikit-learn"


def load(config: DataSource, target: str, **options: bool) -> RawData:
    """What scikit-learn's `load_<source>` gives with its `options`; no value is missing, no official test split.

    Raises InputError as `find`.
    """
    origin = find(config)
    from sklearn import datasets  # takes more than a second, which the other sources need not pay

    bunch = getattr(datasets, f"load_{config.source}")(**options)
    labels = tuple(str(label) for label in getattr(bunch, "target_names", ()))
    features = tuple(str(name) for name in bunch.feature_names)
    targets = bunch.target.astype(np.int64 if labels else np.float32)
    table = Table(features, ((),) * len(features), missing=False)
    inputs = bunch.data.astype(np.float32)
    return RawData(config.source, labels, inputs, targets, None, None, origin, target, table)
