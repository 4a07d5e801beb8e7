"""The MNIST example of Keras, by its published recipe (keras.io/examples/vision/mnist_convnet).

Convolutions of 32 and 64 channels, Adam, batches of 128, `fit`.
"""

from typing import Any

import keras
import numpy as np

from benchmarks.training.clock import Clock
from benchmarks.training.fashion import Fashion

EPOCHS = 10_000  # the clock ends the training


def build() -> keras.Model:
    """The example's network: [N,28,28,1] to probabilities [N,10]."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


class Timed(keras.callbacks.Callback):  # type: ignore[misc]
    """Evaluates when the clock requires it, and ends the training."""

    def __init__(self, data: Fashion, clock: Clock) -> None:
        super().__init__()
        self.data, self.clock = data, clock

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """After each step."""
        if self.clock.is_over():
            self.model.stop_training = True
        elif self.clock.is_due():
            self.clock.evaluate(self.accuracy)

    def accuracy(self) -> float:
        """Of the model as it is now."""
        images = _scaled(self.data.test_images)
        parts = np.split(images, range(1000, len(images), 1000))
        return self.data.accuracy(np.concatenate([np.asarray(self.model(part, training=False)) for part in parts]))


def train(data: Fashion, seed: int, clock: Clock) -> None:
    """Train until the clock ends."""
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    timed = Timed(data, clock)
    targets = keras.utils.to_categorical(data.labels, 10)
    model.fit(_scaled(data.images), targets, batch_size=128, epochs=EPOCHS, verbose=0, callbacks=[timed])
    clock.evaluate(timed.accuracy)


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.astype("float32") / 255
