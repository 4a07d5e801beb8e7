"""Optical digits (Alpaydin and Kaynak 1998, doi:10.24432/C50P49): 1,797 images of 8x8, embedded in scikit-learn."""

import numpy as np

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.options import refuse_others

BRIGHTEST = 16


def find(config: DataSource) -> str:
    """Where the examples are. Raises InputError where `data.path` is set, for there is no file to look for."""
    if config.path is not None:
        raise InputError(f"data.path = {config.path!r}; allowed: null, as the digits are part of scikit-learn")
    refuse_others(config, ())
    return "scikit-learn"


def load(config: DataSource) -> RawData:
    """1,797 images, uint8 [N, 8, 8, 1], stretched from 0..16 to 0..255; no official test split.

    Raises InputError as `find`.
    """
    origin = find(config)
    from sklearn import datasets  # takes more than a second, which the other sources need not pay

    digits = datasets.load_digits()
    inputs = np.rint(digits.images[..., None] * (255 / BRIGHTEST)).astype(np.uint8)  # [N, 8, 8] -> [N, 8, 8, 1]
    labels = tuple(str(label) for label in digits.target_names)
    return RawData("digits", labels, inputs, digits.target.astype(np.int64), None, None, origin)
