"""`training_examples.npy`: a hash of each example that a model was trained on, to find them in other data."""

import hashlib

import numpy as np

FILE = "training_examples.npy"


def of(inputs: np.ndarray) -> np.ndarray:
    """Hashes uint64 [N] of raw examples [N, ...], equal for equal examples."""
    digests = b"".join(hashlib.blake2b(np.asarray(example).tobytes(), digest_size=8).digest() for example in inputs)
    return np.frombuffer(digests, np.uint64)
