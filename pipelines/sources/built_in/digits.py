"""Optical digits (Alpaydin and Kaynak 1998, doi:10.24432/C50P49): 1,797 images of 8x8, embedded in scikit-learn."""

import numpy as np

from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.built_in import embedded

MAX_VALUE = 16
find = embedded.find


def load(config: DataSource) -> RawData:
    """1,797 images, uint8 [N, 8, 8, 1], scaled from 0..16 to 0..255; no official test split.

    Raises InputError as `find`.
    """
    origin = find(config)
    from sklearn import datasets  # slow to import

    digits = datasets.load_digits()
    inputs = np.rint(digits.images[..., None] * (255 / MAX_VALUE)).astype(np.uint8)  # [N, 8, 8] -> [N, 8, 8, 1]
    labels = tuple(str(label) for label in digits.target_names)
    return RawData("digits", labels, inputs, digits.target.astype(np.int64), None, None, origin)
