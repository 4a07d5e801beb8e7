"""One SHA-256 for a set of arrays, so that the same data is known by the same name everywhere."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.npy import spans


def sha256(arrays: Mapping[str, NDArray[Any]], text: str = "") -> str:
    """SHA-256 in hexadecimal over `text` and each array's name, dtype, shape and bytes, in the given order."""
    digest = hashlib.sha256(text.encode())
    for name, array in arrays.items():
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        for span in spans(array):
            digest.update(np.ascontiguousarray(array[span]).data)
    return digest.hexdigest()
