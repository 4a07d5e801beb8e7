"""Data sets that are part of scikit-learn, loaded by the name of the source."""

import numpy as np

from pipelines.artifacts.raw_data import RawData, Table
from pipelines.config.params import DataSource


def find(config: DataSource) -> str:
    """The location of the examples. Raises InputError if an unused option is set, such as `data.path`."""
    config.require_options()
    return "scikit-learn"


def load(config: DataSource, target: str, **options: bool) -> RawData:
    """The table of scikit-learn's `load_<source>(**options)`, inputs float32 [N, F], no missing values.

    Raises InputError as `find`.
    """
    origin = find(config)
    from sklearn import datasets  # slow to import

    bunch = getattr(datasets, f"load_{config.source}")(**options)
    labels = tuple(str(label) for label in getattr(bunch, "target_names", ()))
    features = tuple(str(name) for name in bunch.feature_names)
    targets = bunch.target.astype(np.int64 if labels else np.float32)
    table = Table(features, ((),) * len(features), missing=False)
    inputs = bunch.data.astype(np.float32)
    return RawData(config.source, labels, inputs, targets, None, None, origin, target, table)
