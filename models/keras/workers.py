"""The collectives of TensorFlow: its own ring between processors, NCCL between GPUs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.keras.layers import Calls, dropout_factors, dropouts
from models.training.device import Device
from models.training.launchers import Place
from models.training.workers import LostWorkerError, Workers

CONNECTION_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


@dataclass(frozen=True, kw_only=True)
class ConnectedWorkers(Workers):
    """Several processes of TensorFlow."""

    strategy: tf.distribute.Strategy

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over all workers."""
        with errors_named():
            return np.asarray(self._graph(tf.constant(array)))

    def all_reduce(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all workers; the gradient of the result is summed in the same way."""
        return tf.custom_gradient(lambda own: (self._sum(own), self._sum))(tensor)

    def average(self, gradients: list[tf.Tensor], sums: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Add the gradients of all workers and divide them by the mean weight of an example; return all `sums`.

        `sums` float32 [4] of this worker: the loss, the weight, another sum, and the number of examples.
        """
        flat = self._sum(tf.concat([*(tf.reshape(gradient, [-1]) for gradient in gradients), sums], 0))
        *reduced, sums = tf.split(flat, [*(tf.size(gradient) for gradient in gradients), tf.size(sums)])
        shapes = (tf.shape(gradient) for gradient in gradients)
        return [
            tf.reshape(total, shape) / (sums[1] / sums[3]) for total, shape in zip(reduced, shapes, strict=True)
        ], sums

    @cached_property
    def _graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`_sum` in a graph: outside of graphs TensorFlow warns of the overhead of collectives."""
        return tf.function(self._sum)

    def _sum(self, tensor: tf.Tensor) -> tf.Tensor:
        return self.strategy.run(_all_reduce, (tensor,))


def _all_reduce(tensor: tf.Tensor) -> tf.Tensor:
    # The copy is on the device of the worker; without one there would be no destination.
    return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(tensor))


@contextmanager
def errors_named() -> Iterator[None]:
    """Raise LostWorkerError in place of TensorFlow's errors of connections."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        lines = str(error).splitlines()  # the first ones may be a traceback of the graph
        reason = next((line for line in lines if line.startswith("Collective ops is aborted by: ")), lines[0])
        raise LostWorkerError(f"another worker has ended or cannot be reached: {reason}") from error


def join(place: Place, device: Device) -> ConnectedWorkers:
    """Connect to the other workers, and wait for all of them. To be called before anything else uses TensorFlow.

    Raises LostWorkerError if that fails.
    """
    kinds = tf.distribute.experimental.CommunicationImplementation
    kind = kinds.NCCL if device.kind == "cuda" else kinds.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    with errors_named():
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    return ConnectedWorkers(rank=place.rank, size=place.size, strategy=strategy)


def whole_batch_calls(model: keras.Model, own: Workers, total: tf.Tensor) -> Calls:
    """The calls by which batch normalisation and dropout in training are those of the whole batch of `total` examples.

    A single worker needs none.
    """
    if not isinstance(own, ConnectedWorkers):
        return {}
    normalizations = [each for each in model._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    calls: Calls = {layer: partial(_normalise, layer, own) for layer in normalizations}
    return calls | {layer: partial(_drop, layer, own, total) for layer in dropouts(model)}


def _normalise(layer: keras.layers.BatchNormalization, own: ConnectedWorkers, x: tf.Tensor, **_: Any) -> tf.Tensor:
    """Normalise [N,C] or [N,H,W,C] by the statistics of the whole batch, and update the moving ones."""
    mean, variance = tf.nn.moments(tf.cast(x, tf.float32), list(range(x.shape.rank - 1)))
    mean, variance = _combined(own, mean, variance, tf.cast(tf.size(x) / x.shape[-1], tf.float32))
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + batch * (1 - layer.momentum))
    factor = layer.gamma * tf.math.rsqrt(variance + layer.epsilon)
    return tf.cast(tf.cast(x, tf.float32) * factor + (layer.beta - mean * factor), x.dtype)


def _combined(
    own: ConnectedWorkers, mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance [C] of the numbers of all workers, from those of each and their `count` (Chan et al. 1979)."""
    moments = tf.concat([mean, variance, [count]], 0)
    # Gathered as a sum of rows, of which each worker has one.
    row = tf.pad(moments[None], [[own.rank, own.size - own.rank - 1], [0, 0]])
    channels = mean.shape[0]
    means_RC, variances_RC, counts_R1 = tf.split(own.all_reduce(row), [channels, channels, 1], 1)
    shares_R1 = counts_R1 / tf.reduce_sum(counts_R1)
    mean = tf.reduce_sum(shares_R1 * means_RC, 0)
    return mean, tf.reduce_sum(shares_R1 * (variances_RC + (means_RC - mean) ** 2), 0)


def _drop(layer: keras.layers.Dropout, own: ConnectedWorkers, total: tf.Tensor, x: tf.Tensor, **_: Any) -> tf.Tensor:
    """The rows of this worker, by factors that are drawn for the whole batch."""
    factors = dropout_factors(layer, tf.stack([total, *x.shape[1:]]), x.dtype)
    return x * own.part(factors, total)
