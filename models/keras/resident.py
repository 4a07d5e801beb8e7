"""Batches of examples that are kept on the device. The changes are those of `models.training.augment`."""

import tensorflow as tf

from models.config import Augment
from models.memory_map import release
from models.training.batches import Split

Tensors = dict[str, tf.Tensor]


class Resident:
    """The examples of a split on the device that TensorFlow chooses, which is the GPU, if one is visible."""

    def __init__(self, split: Split, config: Augment, outputs: int, compiles: bool) -> None:
        self.inputs, self.targets = tf.constant(split.inputs), tf.constant(split.targets)
        release(split.inputs)
        self.limit = config.shift
        self.outputs = outputs
        # TensorFlow gathers uint8 on the CPU only: without XLA every batch would copy all examples from the GPU.
        self.batch = tf.function(self._batch, jit_compile=compiles, reduce_retracing=True)

    def _batch(self, drawn: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Inputs and targets by the arrays of a `Draw`."""
        inputs, targets = tf.gather(self.inputs, drawn["rows"]), tf.gather(self.targets, drawn["rows"])
        if "flipped" in drawn:
            inputs = tf.where(drawn["flipped"][:, None, None, None], tf.reverse(inputs, [2]), inputs)
        if "corners" in drawn:
            inputs = self._shift(inputs, drawn["corners"])
        return (
            self._blend(inputs, targets, drawn["share"], drawn["partners"]) if "share" in drawn else (inputs, targets)
        )

    def _shift(self, images_NHWC: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
        _, height, width, _ = images_NHWC.shape
        padded = tf.pad(images_NHWC, [[0, 0], [self.limit] * 2, [self.limit] * 2, [0, 0]])
        top_N, left_N = tf.unstack(corners)
        rows_NHWC = tf.gather(padded, top_N[:, None] + tf.range(height, dtype=tf.int64), axis=1, batch_dims=1)
        return tf.gather(rows_NHWC, left_N[:, None] + tf.range(width, dtype=tf.int64), axis=2, batch_dims=1)

    def _blend(
        self, inputs: tf.Tensor, targets: tf.Tensor, share: tf.Tensor, partners: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self.outputs > 1:
            targets = tf.one_hot(targets, self.outputs)
        values = tf.cast(inputs, tf.float32)
        blended = share * values + (1 - share) * tf.gather(values, partners)
        blended = tf.round(blended) if inputs.dtype == tf.uint8 else blended
        return tf.cast(blended, inputs.dtype), share * targets + (1 - share) * tf.gather(targets, partners)
