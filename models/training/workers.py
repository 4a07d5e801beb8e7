"""Data-parallel training: processes that share each batch, the same for both frameworks.

Every worker reads the same batches in the same order and computes on its rows of each. What depends on the whole batch
is summed over the workers by a collective of the framework: gradients, losses and the moments of batch normalisation.
Augmentation and dropout are drawn for the whole batch by every worker, so that the numbers are those of one process.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import InputError

WORD = 4  # bytes of an int32, which collectives of both frameworks add


class LostWorkerError(InputError):
    """Another worker has ended, or cannot be reached."""


@dataclass(frozen=True)
class Workers:
    """The workers of a training, as one of them sees them: `rank` of `size`. This class is a single worker."""

    rank: int = 0
    size: int = 1

    def part(self, batch: Any, total: Any) -> Any:
        """The rows of this worker in an array or tensor [total, ...]; those of workers differ by one at most."""
        if self.size == 1:
            return batch
        return batch[self.rank * total // self.size : (self.rank + 1) * total // self.size]

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over all workers of float64, int32 or int64; every worker has to call it."""
        return array

    def wait(self) -> None:
        """Wait for all workers; every worker has to call it."""
        self.sum(np.zeros(1))


ALONE = Workers()


def broadcast(workers: Workers, content: bytes) -> bytes:
    """The `content` of worker 0; every worker has to call it."""
    if workers.size == 1:
        return content
    content = content if workers.rank == 0 else b""
    length = int(workers.sum(np.array([len(content)], np.int64))[0])
    if length == 0:  # a sum of no numbers ends TensorFlow with a memory error
        return b""
    padded = content.ljust(-(-length // WORD) * WORD, b"\0")
    return workers.sum(np.frombuffer(padded, np.int32)).tobytes()[:length]
