"""What Keras minimises. The same numbers as the torch room on the same inputs."""

import keras
import tensorflow as tf

from models.config import Train


def loss(logits: tf.Tensor, targets: tf.Tensor, config: Train) -> tf.Tensor:
    """Mean cross-entropy over the batch, in nats; logits float32 [N,K], targets int64 [N].

    Of a regression the mean squared error; predictions float32 [N,1], targets float32 [N].
    """
    if targets.dtype.is_floating:
        return tf.reduce_mean(tf.square(logits[:, 0] - targets))
    one_hot = tf.one_hot(targets, logits.shape[-1])
    return tf.reduce_mean(
        keras.losses.categorical_crossentropy(one_hot, logits, from_logits=True, label_smoothing=config.label_smoothing)
    )
