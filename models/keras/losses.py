"""Losses of Keras by name. The values equal those of `models.torch.losses`.

Of classification: logits float32 [N,K] and the targets' distribution float32 [N,K]; of regression: outputs and
targets float32 [N]. Each gives the loss of each example, float32 [N].
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from models.config import Train
from models.constants import MIN_FOCAL_MISS


def cross_entropy(logits_NK: tf.Tensor, targets_NK: tf.Tensor, _: Train) -> tf.Tensor:
    """In nats."""
    return keras.losses.categorical_crossentropy(targets_NK, logits_NK, from_logits=True)


def binary_cross_entropy(logits_N2: tf.Tensor, targets_N2: tf.Tensor, _: Train) -> tf.Tensor:
    """Of the second class, whose logit is the difference of the two: softmax gives the sigmoid of it."""
    logits_N = logits_N2[:, 1] - logits_N2[:, 0]
    return tf.nn.sigmoid_cross_entropy_with_logits(targets_N2[:, 1], logits_N)


def kl_divergence(logits_NK: tf.Tensor, targets_NK: tf.Tensor, _: Train) -> tf.Tensor:
    """From the targets to the softmax, in nats: the cross-entropy less the targets' own entropy."""
    entropy_N = -tf.reduce_sum(tf.math.xlogy(targets_NK, targets_NK), 1)
    return keras.losses.categorical_crossentropy(targets_NK, logits_NK, from_logits=True) - entropy_N


def hinge(logits_NK: tf.Tensor, targets_NK: tf.Tensor, _: Train) -> tf.Tensor:
    """max(0, 1 + highest wrong logit - right logit) (Crammer & Singer 2001); right is the likeliest target."""
    is_right = tf.one_hot(tf.argmax(targets_NK, 1), logits_NK.shape[1], True, False, dtype=tf.bool)
    right_N = tf.reduce_sum(tf.where(is_right, logits_NK, 0.0), 1)
    wrong_N = tf.reduce_max(tf.where(is_right, -float("inf"), logits_NK), 1)
    return tf.nn.relu(1 + wrong_N - right_N)


def focal(logits_NK: tf.Tensor, targets_NK: tf.Tensor, config: Train) -> tf.Tensor:
    """Cross-entropy times (1 - p)^gamma: easy examples have a smaller weight (Lin et al. 2017)."""
    logs_NK = tf.nn.log_softmax(logits_NK)
    misses_NK = tf.maximum(-tf.math.expm1(logs_NK), MIN_FOCAL_MISS)
    return -tf.reduce_sum(targets_NK * misses_NK**config.focal_gamma * logs_NK, 1)


def mse(outputs_N: tf.Tensor, targets_N: tf.Tensor, _: Train) -> tf.Tensor:
    """Squared error."""
    return tf.math.squared_difference(outputs_N, targets_N)


def l1(outputs_N: tf.Tensor, targets_N: tf.Tensor, _: Train) -> tf.Tensor:
    """Absolute error."""
    return tf.abs(outputs_N - targets_N)


def huber(outputs_N: tf.Tensor, targets_N: tf.Tensor, config: Train) -> tf.Tensor:
    """Half the squared error up to delta, a line beyond it (Huber 1964); smooth L1 where delta is 1."""
    return keras.losses.huber(targets_N[:, None], outputs_N[:, None], delta=config.huber_delta)


LOSSES: dict[str, Callable[[tf.Tensor, tf.Tensor, Train], tf.Tensor]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "kl_divergence": kl_divergence,
    "hinge": hinge,
    "focal": focal,
    "mse": mse,
    "l1": l1,
    "huber": huber,
}


def loss(outputs: tf.Tensor, targets: tf.Tensor, config: Train, weights: tf.Tensor) -> tf.Tensor:
    """The mean over the batch; of classification weighted by `weights` [K] of the targets' classes.

    `outputs` float32 [N,K]; `targets` int64 [N] or a distribution float32 [N,K], or float32 [N] of regression.
    """
    count = outputs.shape[1]
    function = LOSSES[config.loss_for(count)]
    if count == 1:
        return tf.reduce_mean(function(outputs[:, 0], targets, config))
    targets_NK = targets if targets.shape.rank == 2 else tf.one_hot(targets, count, dtype=outputs.dtype)
    weights_N = tf.linalg.matvec(targets_NK, weights)
    smoothed_NK = targets_NK * (1 - config.label_smoothing) + config.label_smoothing / count
    return tf.reduce_sum(function(outputs, smoothed_NK, config) * weights_N) / tf.reduce_sum(weights_N)


def total_weight(targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The divisor in `loss`, float32: the sum of the examples' weights, their number of regression."""
    if targets.shape.rank == 2:
        return tf.reduce_sum(tf.linalg.matvec(targets, weights))
    if targets.dtype.is_floating:
        return tf.reduce_sum(tf.ones_like(targets))
    return tf.reduce_sum(tf.gather(weights, targets))
