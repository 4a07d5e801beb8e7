"""Examples that a GPU keeps for the whole training, so that a step copies only the numbers of its rows to it."""

import numpy as np

from models.training.batches import TrainingData
from models.training.workers import ALONE, Workers

SHARE = 0.25  # of the free memory of the GPU that the examples take at most; the rest is for the training itself


def fits(data: TrainingData, free: int, workers: Workers = ALONE) -> bool:
    """Whether the examples are kept on a device with so many free bytes; with several workers, on all or none."""
    arrays = [array for split in (data.train, data.validation) for array in (split.inputs, split.targets)]
    exceeds = sum(array.nbytes for array in arrays) > SHARE * free
    return not workers.sum(np.array([exceeds], np.int64))[0]
