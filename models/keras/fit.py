"""Training in Keras on TensorFlow: one step; the epochs are those of `models.training.loop`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.config import Train
from models.interfaces import OnEpoch, OnStep, Totals
from models.keras import device as devices
from models.keras import optimizers
from models.keras.layers import fused_batch_normalization, replaced, training_calls
from models.keras.losses import loss, total_weight
from models.keras.resident import Resident, Tensors
from models.keras.snapshot import snapshot
from models.keras.state import get_state, set_state
from models.keras.store import get_weights, set_weights
from models.keras.workers import ConnectedWorkers, errors_named, whole_batch_calls
from models.training import loop, precision, resident
from models.training.augment import Draw
from models.training.batches import Batch, TrainingData
from models.training.class_weights import class_weights
from models.training.device import Device, Precision
from models.training.epoch import Epoch
from models.training.recovery import NO_RECOVERY, LearnerState, Recovery
from models.training.snapshot import Snapshot
from models.training.workers import ALONE, Workers


def fit(
    model: keras.Model,
    data: TrainingData,
    config: Train,
    device: Device,
    on_epoch: OnEpoch,
    on_step: OnStep,
    recovery: Recovery = NO_RECOVERY,
    workers: Workers = ALONE,
) -> list[Epoch]:
    """Train the model in place; its history, an entry an epoch.

    An interrupted training continues from its state. Raises NotFiniteError where the loss is no longer a number, and
    LostWorkerError where another of several workers has ended.
    """
    learner = Learner(model, config, device, class_weights(config, data.train, data.spec.outputs), workers)
    history = loop.run(learner, data, config, on_epoch, on_step, recovery, workers)
    learner.finish()
    return history


def step_seconds(
    build: Callable[[], keras.Model], data: TrainingData, config: Train, device: Device
) -> Mapping[Precision, float]:
    """The duration of a training step of new models in each precision."""
    weights = class_weights(config, data.train, data.spec.outputs)
    learners = {name: Learner(build(), config, own, weights) for name, own in precision.devices(device).items()}
    seconds = precision.step_seconds(learners, data, config)
    keras.utils.clear_session()  # layers without a name are numbered from 1 again
    return seconds


class Learner:
    """A Keras model, its optimizer and its device, in one of the `workers`.

    `model` stays in float32; in bfloat16 and float16 a clone with the same float32 weights does the training.
    """

    def __init__(
        self, model: keras.Model, config: Train, device: Device, weights: np.ndarray, workers: Workers = ALONE
    ) -> None:
        self.model = model
        self.trained = model if device.precision == "float32" else _mixed(model, device.precision)
        self.config = config
        self.device = device
        self.workers = workers
        self.scales_loss = device.precision == "float16"
        self.optimizer = optimizers.build(self.trained, config, self.scales_loss)
        self.weights = tf.constant(weights)
        self.is_traced = False
        self.totals = tf.Variable(tf.zeros(len(Totals._fields), tf.float64))
        on_gpu = device.kind == "cuda"
        # XLA has no collectives of several processes, and no deterministic gradient of max pooling on a GPU.
        compiles = on_gpu and workers.size == 1 and not _has_max_pooling(model)
        self._train_step = tf.function(self._train, jit_compile=compiles, reduce_retracing=True)
        self._train_steps = tf.function(self._train_each, reduce_retracing=True)
        self._validation_step = tf.function(self._validate, jit_compile=on_gpu, reduce_retracing=True)

    def keep(self, data: TrainingData) -> bool:
        """Keep the examples on a GPU, if they fit."""
        if not resident.fits(data, devices.free_memory(self.device), self.workers):
            return False
        self.train, self.validation = (
            Resident(split, self.config.augment, data.spec.outputs, self.device.kind == "cuda")
            for split in (data.train, data.validation)
        )
        return True

    def train_batches(self, batches: Sequence[Batch | Draw], rates: Sequence[float]) -> None:
        """A step of the optimizer for each batch, all in one call of TensorFlow."""
        names = batches[0].arrays()
        stacked = {name: np.stack([batch.arrays()[name] for batch in batches]) for name in names}
        tensors = {name: tf.constant(array) for name, array in stacked.items()}
        with errors_named():
            if not self.is_traced:  # else it is traced again for the next number of batches, which takes as long
                any_number = {
                    name: tf.TensorSpec([None, *each.shape[1:]], each.dtype) for name, each in tensors.items()
                }
                self._train_steps.get_concrete_function(any_number, tf.TensorSpec([None], tf.float32))
                self.is_traced = True
            self._train_steps(tensors, tf.constant(rates, tf.float32))

    def validate_batch(self, batch: Batch | Draw) -> None:
        """Loss and metric in inference mode."""
        tensors = {name: tf.constant(array) for name, array in batch.arrays().items()}
        examples = self.validation.batch(tensors) if isinstance(batch, Draw) else tensors.values()
        self._validation_step(*examples)

    def read_totals(self) -> Totals:
        """The totals so far; this waits for the device."""
        return Totals(*self.totals.numpy().tolist())

    def clear_totals(self) -> None:
        """Set all totals to 0."""
        self.totals.assign(tf.zeros_like(self.totals))
        self.finish()  # what is validated next is what was trained so far

    def get_weights(self) -> dict[str, np.ndarray]:
        """A copy of all weights."""
        return get_weights(self.trained)

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Replace all weights by a copy."""
        set_weights(self.trained, weights)

    def state(self) -> LearnerState:
        """A copy of weights, optimizer and random generators."""
        return get_state(self.trained, self.optimizer)

    def restore(self, state: LearnerState) -> None:
        """Restore a state."""
        set_state(self.trained, self.optimizer, state)
        self.finish()

    def inspect(self, batch: Batch) -> Snapshot:
        """Layer statistics, weights and gradients for a batch."""
        inputs, targets = tf.constant(batch.inputs), tf.constant(batch.targets)
        return snapshot(self.model, inputs, lambda logits: loss(logits, targets, self.config, self.weights))

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Logits in inference mode."""
        return np.asarray(self.model(tf.constant(inputs), training=False))

    def finish(self) -> None:
        """Copy the weights of the clone to the float32 model."""
        if self.trained is not self.model:
            set_weights(self.model, get_weights(self.trained))

    def _train_each(self, batches_S: Tensors, rates_S: tf.Tensor) -> None:
        for step in tf.range(tf.size(rates_S)):
            self.optimizer.learning_rate.assign(rates_S[step])
            batch = {name: tensor[step] for name, tensor in batches_S.items()}
            inputs, targets = self.train.batch(batch) if "rows" in batch else (batch["inputs"], batch["targets"])
            self._train_step(inputs, targets)

    def _train(self, inputs: tf.Tensor, targets: tf.Tensor) -> None:
        # All workers are given the whole batch: collectives are numbered as they are traced, so all have to trace the
        # same shapes.
        total, variables = tf.shape(targets)[0], self.trained.trainable_variables
        inputs, targets = self.workers.part(inputs, total), self.workers.part(targets, total)
        calls = training_calls(self.trained) | whole_batch_calls(self.trained, self.workers, total)
        with tf.GradientTape() as tape, replaced(calls):
            logits = tf.cast(self.trained(inputs, training=True), tf.float32)
            value = loss(logits, targets, self.config, self.weights)
            sums = self._sums(value, logits, targets)
            # The sum of the workers' losses would overflow in float16.
            objective = sums[0] / tf.cast(total, tf.float32) if self.workers.size > 1 else value
            objective = self.optimizer.scale_loss(objective)
        gradients = tape.gradient(objective, [variable.value for variable in variables])
        if isinstance(self.workers, ConnectedWorkers):
            gradients, sums = self.workers.average(gradients, sums)
        gradients = self._multiplied(gradients, 1 / self._loss_scale())
        norm = tf.linalg.global_norm(gradients)
        if self.config.gradient_clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.gradient_clip, norm)
        gradients = optimizers.penalised(gradients, variables, self.config)
        # An optimizer that scales the loss divides by the scale itself: a power of 2, which is exact.
        self.optimizer.apply(self._multiplied(gradients, self._loss_scale()), variables)
        self._add(sums, norm)

    def _loss_scale(self) -> Any:
        return self.optimizer.dynamic_scale.value if self.scales_loss else 1.0

    def _multiplied(self, gradients: list[tf.Tensor], factor: Any) -> list[tf.Tensor]:
        return [gradient * factor for gradient in gradients] if self.scales_loss else gradients

    def _validate(self, inputs: tf.Tensor, targets: tf.Tensor) -> None:
        with replaced(fused_batch_normalization(self.model, training=False)):
            logits = self.model(inputs, training=False)
        value = loss(logits, targets, self.config, self.weights)
        self._add(self._sums(value, logits, targets), tf.zeros(()))

    def _sums(self, value: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Of the examples: loss and weight, metric, and their number; float32 [4]."""
        count, weight = tf.cast(tf.shape(targets)[0], tf.float32), total_weight(targets, self.weights)
        return tf.stack([value * weight, weight, _metric(logits, targets), count])

    def _add(self, sums: tf.Tensor, norm: tf.Tensor) -> None:
        loss_sum, weight, metric, count = tf.unstack(sums)
        skipped = tf.zeros_like(norm)
        if self.scales_loss:
            skipped = tf.cast(~tf.math.is_finite(norm), norm.dtype)  # the step is not taken
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
        totals = tf.stack([loss_sum, weight, metric, norm * count, count, skipped])
        self.totals.assign_add(tf.cast(totals, self.totals.dtype))


def _has_max_pooling(model: keras.Model) -> bool:
    return any(
        _has_max_pooling(layer) if isinstance(layer, keras.Model) else isinstance(layer, keras.layers.MaxPooling2D)
        for layer in model.layers
    )


def _metric(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The number of right classes of logits [N,K], or the sum of absolute errors of predictions [N,1]."""
    if targets.shape.rank == 2:
        targets = tf.argmax(targets, 1)
    if targets.dtype.is_floating:
        return tf.reduce_sum(tf.abs(outputs[:, 0] - targets))
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(outputs, 1), targets), tf.float32))


def _mixed(model: keras.Model, precision: Precision) -> keras.Model:
    """The same model with matrix products in this precision; weights and the scaling of raw values stay float32."""
    clone = model.__class__.from_config(model.get_config())
    clone.build_from_config(model.get_build_config())
    _set_policy(clone, f"mixed_{precision}")
    set_weights(clone, get_weights(model))
    return clone


def _set_policy(model: keras.Model, policy: str) -> None:
    for layer in model.layers:
        if layer.name == "scale":
            continue
        if isinstance(layer, keras.Model):
            _set_policy(layer, policy)
        else:
            layer.dtype_policy = policy
