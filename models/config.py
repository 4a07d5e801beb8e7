"""What a person may ask of a model and of its training: frozen, typed, checked, without defaults.

Every number lives in `params.yaml`; `pipelines.params` reads it into these. They are pydantic
models, so that a wrong key, type or value is refused with its place, before any work starts.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.errors import InputError
from models.spec import DataSpec

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

Framework = Literal["torch", "keras"]
Architecture = Literal["linear", "mlp", "cnn"]
Activation = Literal["relu", "elu", "gelu", "silu", "tanh"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"]
Device = Literal["auto", "cpu", "cuda"]


class Config(BaseModel):
    """A section of `params.yaml`: no unknown keys, no conversion of types, no change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Linear(Config):
    """One dense layer on the flattened, scaled input: softmax or linear regression, the baseline of every other."""

    initializer: Initializer

    def require_fit(self, spec: DataSpec) -> None:
        """Any data fits."""


class MLP(Config):
    """A multilayer perceptron: `hidden` widths, each followed by the activation and dropout."""

    hidden: Counts
    activation: Activation
    dropout: Fraction

    def require_fit(self, spec: DataSpec) -> None:
        """Any data fits."""


class CNN(Config):
    """A convolutional network: for each of `channels` a 3x3 convolution with batch normalisation
    and a 2x2 maximum, then a dense layer of width `dense` with dropout."""

    channels: Annotated[Counts, Field(min_length=1)]
    dense: Count
    activation: Activation
    dropout: Fraction

    def require_fit(self, spec: DataSpec) -> None:
        """Raise InputError where the data is no image, or too small to be halved once for each stage."""
        if spec.kind != "image":
            raise InputError(f"architecture 'cnn' does not fit '{spec.name}': its examples are {spec.kind}, not image")
        smallest = 2 ** len(self.channels)
        if min(spec.shape[:2]) < smallest:
            raise InputError(
                f"models.cnn.channels has {len(self.channels)} stages, which need images of {smallest}x{smallest}; "
                f"'{spec.name}' has {spec.shape[0]}x{spec.shape[1]}"
            )


class Models(Config):
    """One section for each architecture."""

    linear: Linear
    mlp: MLP
    cnn: CNN


class Schedule(Config):
    """How the learning rate moves over the steps of a training; `warmup` is the share of steps that rises."""

    name: Literal["constant", "cosine", "one_cycle"]
    warmup: Fraction


class Augment(Config):
    """Changes to training images: `shift` by up to so many pixels each way, `flip` left to right."""

    shift: Annotated[int, Field(ge=0)]
    flip: bool


class Train(Config):
    """How a model is fitted. `patience` is in epochs; null trains all epochs and keeps the last weights."""

    epochs: Count
    batch_size: Count
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"]
    learning_rate: Positive
    momentum: Fraction
    weight_decay: NotNegative
    schedule: Schedule
    label_smoothing: Fraction
    gradient_clip: Positive | None
    augment: Augment
    patience: Count | None
    precision: Literal["auto", "float32", "bfloat16"]
    device: Device
    seed: Seed
