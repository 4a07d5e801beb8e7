"""What a person may ask of a model and of its training: frozen, typed, checked, without defaults.

Every number lives in `params.yaml`; `pipelines.params` reads it into these. They are pydantic
models, so that a wrong key, type or value is refused with its place, before any work starts.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.errors import InputError
from models.spec import DataSpec, Task

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

Framework = Literal["torch", "keras"]
Activation = Literal["relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"]
Normalization = Literal["batch", "layer", "none"]
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "lion", "lbfgs", "asgd"]
Device = Literal["auto", "cpu", "cuda"]

# What is in `LOSSES` of both rooms, and the task that it fits.
LOSSES: dict[str, Task] = {
    "cross_entropy": "classification",
    "binary_cross_entropy": "classification",
    "kl_divergence": "classification",
    "hinge": "classification",
    "focal": "classification",
    "mse": "regression",
    "l1": "regression",
    "huber": "regression",
}
MISSING: dict[Framework, tuple[Optimizer, ...]] = {"torch": (), "keras": ("lbfgs", "asgd")}


def known_loss(name: str) -> str:
    """Raise ValueError, which says what is allowed, where there is no such loss."""
    if name not in ("auto", *LOSSES):
        raise ValueError(f"auto, {', '.join(LOSSES)}")
    return name


class Config(BaseModel):
    """A section of `params.yaml`: no unknown keys, no conversion of types, no change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Linear(Config):
    """One dense layer on the flattened, scaled input: softmax or linear regression, the baseline of every other."""

    initializer: Initializer

    def require_fit(self, spec: DataSpec) -> None:
        """Any data fits."""


class Hidden(Config):
    """What the hidden layers of one architecture have in common; `initializer` is that of their kernels.

    A layer with normalisation has no bias of its own, as the normalisation adds one.
    """

    activation: Activation
    normalization: Normalization
    dropout: Fraction
    initializer: Initializer


class MLP(Hidden):
    """A multilayer perceptron: `hidden` widths, each followed by normalisation, activation and dropout."""

    hidden: Counts

    def require_fit(self, spec: DataSpec) -> None:
        """Any data fits."""


class CNN(Hidden):
    """A convolutional network: for each of `channels` a 3x3 convolution with normalisation, activation
    and a 2x2 maximum, then a dense layer of width `dense` with dropout."""

    channels: Annotated[Counts, Field(min_length=1)]
    dense: Count

    def require_fit(self, spec: DataSpec) -> None:
        """Raise InputError where the data is no image, or too small to be halved once for each stage."""
        _require_image("cnn", spec, len(self.channels))


class ResNet(Hidden):
    """A residual network: a 3x3 convolution, then for each of `channels` so many `blocks` of two 3x3
    convolutions with a shortcut around them, then the mean over height and width with dropout.

    The first block of each stage but the first halves height and width. `pre_activation` puts normalisation
    and activation before the convolutions (He et al. 2016, "Identity mappings"), else they follow (He et al. 2016).
    """

    channels: Annotated[Counts, Field(min_length=1)]
    blocks: Count
    pre_activation: bool
    stem_stride: Literal[1, 2]

    def require_fit(self, spec: DataSpec) -> None:
        """Raise InputError where the data is no image, or too small to be halved so often."""
        _require_image("resnet", spec, len(self.channels) + self.stem_stride - 2)

    def strides(self) -> list[tuple[str, int, int]]:
        """Name, width and stride of each block, in order."""
        return [
            (f"block_{stage}_{block}", width, 2 if block == 1 < stage else 1)
            for stage, width in enumerate(self.channels, start=1)
            for block in range(1, self.blocks + 1)
        ]


def _require_image(architecture: str, spec: DataSpec, halvings: int) -> None:
    if spec.kind != "image":
        raise InputError(
            f"architecture '{architecture}' does not fit '{spec.name}': its examples are {spec.kind}, not image"
        )
    smallest = 2**halvings
    if min(spec.shape[:2]) < smallest:
        raise InputError(
            f"models.{architecture} halves images {halvings} times, which needs {smallest}x{smallest}; "
            f"'{spec.name}' has {spec.shape[0]}x{spec.shape[1]}"
        )


class Models(Config):
    """One section for each architecture: a field here is a file in both rooms, and may be named in `architectures`."""

    linear: Linear
    mlp: MLP
    cnn: CNN
    resnet: ResNet


def known_architecture(name: str) -> str:
    """Raise ValueError, which says what is allowed, where there is no such architecture."""
    if name not in Models.model_fields:
        raise ValueError(", ".join(Models.model_fields))
    return name


Architecture = Annotated[str, AfterValidator(known_architecture)]


class Schedule(Config):
    """How the learning rate moves over the steps of a training; `warmup` is the share of steps that rises."""

    name: Literal["constant", "cosine", "one_cycle"]
    warmup: Fraction


class Augment(Config):
    """Changes to training images: `shift` by up to so many pixels each way, `flip` left to right.

    `mixup` blends pairs of examples of any kind and their targets; it is the alpha of Zhang et al. 2018, 0 is off.
    """

    shift: Annotated[int, Field(ge=0)]
    flip: bool
    mixup: NotNegative

    def require_fit(self, spec: DataSpec) -> None:
        """Raise InputError where the data cannot be changed in this way."""
        if spec.kind == "tabular" and (self.shift or self.flip):
            raise InputError(f"train.augment: '{spec.name}' is a table; allowed: shift = 0 and flip = false")
        if self.mixup and any(value is not None for value in spec.fill):
            raise InputError(
                f"train.augment.mixup = {self.mixup:g}: '{spec.name}' has categories or missing values, "
                "which cannot be blended; allowed: 0"
            )


class Train(Config):
    """How a model is fitted. `patience` is in epochs; null trains all epochs and keeps the last weights."""

    epochs: Count
    batch_size: Count
    optimizer: Optimizer
    learning_rate: Positive
    momentum: Fraction
    nesterov: bool
    weight_decay: NotNegative
    l1: NotNegative
    schedule: Schedule
    loss: Annotated[str, AfterValidator(known_loss)]
    label_smoothing: Fraction
    class_weights: Literal["balanced"] | Annotated[tuple[Positive, ...], Field(strict=False)] | None
    focal_gamma: NotNegative
    huber_delta: Positive
    gradient_clip: Positive | None
    augment: Augment
    patience: Count | None
    precision: Literal["auto", "float32", "bfloat16"]
    device: Device
    seed: Seed

    @model_validator(mode="after")
    def look_ahead_with_momentum_only(self) -> "Train":
        """Refuse Nesterov's momentum where there is none."""
        if self.optimizer == "sgd" and self.nesterov and not self.momentum:
            raise ValueError("nesterov = true with momentum = 0; allowed: momentum above 0")
        return self

    def loss_for(self, outputs: int) -> str:
        """The loss by name for a model with so many outputs: one for regression, else one for each class."""
        automatic = "mse" if outputs == 1 else "cross_entropy"
        return automatic if self.loss == "auto" else self.loss

    def require_fit(self, spec: DataSpec) -> None:
        """Raise InputError where the changes, the loss or its class weights do not fit the data."""
        self.augment.require_fit(spec)
        name = self.loss_for(spec.outputs)
        if LOSSES[name] != spec.task:
            allowed = ", ".join(loss for loss, task in LOSSES.items() if task == spec.task)
            raise InputError(
                f"train.loss = '{name}' does not fit '{spec.name}', a {spec.task}; allowed: auto, {allowed}"
            )
        if name == "binary_cross_entropy" and spec.outputs != 2:
            raise InputError(f"train.loss = '{name}' needs 2 classes; '{spec.name}' has {spec.outputs}")
        if self.class_weights is not None:
            self._require_classes(self.class_weights, spec)

    def _require_classes(self, weights: Literal["balanced"] | tuple[float, ...], spec: DataSpec) -> None:
        if spec.task != "classification":
            raise InputError(f"train.class_weights does not fit '{spec.name}', a {spec.task}; allowed: null")
        if weights != "balanced" and len(weights) != spec.outputs:
            raise InputError(
                f"train.class_weights has {len(weights)} numbers; allowed: {spec.outputs}, one for each class of "
                f"'{spec.name}'"
            )
