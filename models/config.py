"""Typed, frozen and validated parameters of models and of their training, without defaults.

All values are in `params.yaml`, which `pipelines.config.params` reads. The classes are pydantic models, so that a wrong
key, type or value is rejected, with the key, before a stage starts.
"""

import math
import re
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Protocol, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.errors import InputError
from models.spec import DataSpec, Kind, Task

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

# The losses of both framework packages, and the task that each is for.
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
WITHOUT_LOSS_SCALE: tuple[Optimizer, ...] = ("lbfgs",)  # it evaluates a batch several times in one step
MISSING: dict[Framework, tuple[Optimizer, ...]] = {"torch": (), "keras": ("lbfgs", "asgd")}


def known_device(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if it is not a device to train on."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", name):
        raise ValueError("auto, cpu, cuda, or cuda:N for GPU number N")
    return name


def known_candidate(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if it is not a framework or a candidate."""
    candidates = [f"{framework}-{section}" for framework in get_args(Framework) for section in Models.model_fields]
    if name not in (*get_args(Framework), *candidates):
        raise ValueError(f"unknown key; allowed: {', '.join((*get_args(Framework), *candidates))}")
    return name


def known_loss(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if there is no such loss."""
    if name not in ("auto", *LOSSES):
        raise ValueError(f"auto, {', '.join(LOSSES)}")
    return name


def valid_class_weights(value: object) -> object:
    """Return `value`, a list as a tuple of floats; raise ValueError with the allowed values if it is invalid."""
    if value is None or value == "balanced":
        return value
    if isinstance(value, list | tuple) and value and all(_is_positive(each) for each in value):
        return tuple(float(each) for each in value)
    raise ValueError("null, balanced, or a list of one number above 0 for each class")


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


class Config(BaseModel):
    """A section of `params.yaml`: no unknown keys, no conversion of types, no change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Examples(Protocol):
    """Properties of examples that a model's parameters are compared with: those of a `DataSpec`, or of a source."""

    @property
    def name(self) -> str:
        """The source of the examples."""

    @property
    def kind(self) -> Kind:
        """Images or tables."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example; () where it is not known yet."""


class ModelConfig(Config):
    """The parameters of one architecture; `kinds` are the kinds of examples that it can learn from."""

    kinds: ClassVar[tuple[Kind, ...]] = get_args(Kind)

    def require_compatible(self, examples: Examples) -> None:
        """Raise InputError where the architecture cannot learn from such examples."""
        if examples.kind not in self.kinds:
            kinds = {name: getattr(field.annotation, "kinds", ()) for name, field in Models.model_fields.items()}
            fitting = [name for name, own in kinds.items() if examples.kind in own]
            raise InputError(
                f"architecture '{type(self).__name__.lower()}' does not fit '{examples.name}': its examples are "
                f"{examples.kind}, not {' or '.join(self.kinds)}; allowed in architectures: {', '.join(fitting)}"
            )

    def require_batches(self, examples: Examples, batch_size: int, count: int | None = None) -> None:
        """Raise InputError where it cannot learn from batches of such examples, `count` in all where that is known."""

    def minimum_weights(self, _: Examples) -> int:
        """A lower bound of the number of weights: of the hidden kernels, as far as their sizes are known."""
        return 0


class Linear(ModelConfig):
    """One dense layer on the flattened, scaled input: softmax or linear regression, the baseline of every other."""

    initializer: Initializer


class Hidden(ModelConfig):
    """Parameters of the hidden layers of one architecture; `initializer` is that of their kernels.

    A layer with normalisation has no bias of its own, as the normalisation adds one.
    """

    activation: Activation
    normalization: Normalization
    dropout: Fraction
    initializer: Initializer

    def normalises_one_position(self, _: Examples) -> bool:
        """True if a channel has one number for each example where it is normalised; False where that is not known."""
        return True

    def require_batches(self, examples: Examples, batch_size: int, count: int | None = None) -> None:
        """Raise InputError where batch normalisation would be of one number, which has no variance.

        Batches differ by one example: of 3 each they have 2 or more, of 2 each one may have 1.
        """
        if self.normalization != "batch" or not self.normalises_one_position(examples):
            return
        section = f"models.{type(self).__name__.lower()}"
        allowed = f"or {section}.normalization layer or none"
        if batch_size < 3:
            raise InputError(
                f"train.batch_size = {batch_size}: {section}.normalization = 'batch' needs two examples in every "
                f"batch, which may differ by one; allowed: at least 3, {allowed}"
            )
        if count == 1:
            raise InputError(
                f"'{examples.name}' has 1 example to train on: {section}.normalization = 'batch' needs two in every "
                f"batch; allowed: at least 2, {allowed}"
            )


class MLP(Hidden):
    """A multilayer perceptron: `hidden` widths, each followed by normalisation, activation and dropout."""

    hidden: Counts

    def normalises_one_position(self, _: Examples) -> bool:
        """True if there is a hidden layer."""
        return bool(self.hidden)

    def minimum_weights(self, examples: Examples) -> int:
        """The number of weights of the dense kernels."""
        widths = [math.prod(examples.shape), *self.hidden]
        return sum(before * after for before, after in pairwise(widths))


class Convolutional(Hidden):
    """An architecture that halves height and width of images several times."""

    kinds = ("image",)
    channels: Annotated[Counts, Field(min_length=1)]

    @property
    def halvings(self) -> int:
        """The number of times that height and width are halved."""
        return len(self.channels)

    def require_compatible(self, examples: Examples) -> None:
        """Raise InputError where the examples are no images, or too small to be halved so often."""
        super().require_compatible(examples)
        smallest = 2**self.halvings
        if min(examples.shape[:2], default=smallest) < smallest:
            raise InputError(
                f"models.{type(self).__name__.lower()} halves images {self.halvings} times, which needs "
                f"{smallest}x{smallest}; '{examples.name}' has {examples.shape[0]}x{examples.shape[1]}"
            )

    def normalises_one_position(self, examples: Examples) -> bool:
        """True if the last feature maps have one position: a stride rounds an odd size up."""
        sides: tuple[int, ...] = examples.shape[:2]
        return bool(sides) and max(sides) <= 2**self.halvings


class CNN(Convolutional):
    """A convolutional network: for each of `channels` a 3x3 convolution, a 2x2 maximum, normalisation and activation,
    then a dense layer of width `dense` with dropout.

    The maximum comes first, so that the other two have a quarter of the values.
    """

    dense: Count

    def normalises_one_position(self, examples: Examples) -> bool:
        """True if the last feature maps have one position: the maximum drops the last row of an odd number."""
        sides: tuple[int, ...] = examples.shape[:2]
        return bool(sides) and max(sides) >> self.halvings <= 1

    def minimum_weights(self, examples: Examples) -> int:
        """The number of weights of the 3x3 convolutions and of the dense layer."""
        places = math.prod(side >> self.halvings for side in examples.shape[:2])
        convolutions = sum(9 * before * after for before, after in pairwise(self.channels))
        return convolutions + places * self.channels[-1] * self.dense


class ResNet(Convolutional):
    """A residual network: a 3x3 convolution, then for each of `channels` so many `blocks` of two 3x3
    convolutions with a shortcut around them, then the mean over height and width with dropout.

    The first block of each stage but the first halves height and width. `pre_activation` puts normalisation
    and activation before the convolutions (He et al. 2016, "Identity mappings"), else they follow (He et al. 2016).
    """

    blocks: Count
    pre_activation: bool
    stem_stride: Literal[1, 2]

    @property
    def halvings(self) -> int:
        """Once by the stem, if it has a stride, and once by each stage but the first."""
        return len(self.channels) + self.stem_stride - 2

    def minimum_weights(self, _: Examples) -> int:
        """The number of weights of the second 3x3 convolution of each block."""
        return sum(9 * self.blocks * width**2 for width in self.channels)

    def strides(self) -> list[tuple[str, int, int]]:
        """Name, width and stride of each block, in order."""
        return [
            (f"block_{stage}_{block}", width, 2 if block == 1 < stage else 1)
            for stage, width in enumerate(self.channels, start=1)
            for block in range(1, self.blocks + 1)
        ]


class Models(Config):
    """One section for each architecture, which is a module of this name in both framework packages."""

    linear: Linear
    mlp: MLP
    cnn: CNN
    resnet: ResNet

    def of(self, architecture: str) -> ModelConfig:
        """The section of one architecture."""
        section: ModelConfig = getattr(self, architecture)
        return section


def known_architecture(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if there is no such architecture."""
    if name not in Models.model_fields:
        raise ValueError(", ".join(Models.model_fields))
    return name


Architecture = Annotated[str, AfterValidator(known_architecture)]


class Schedule(Config):
    """The learning rate over the steps of a training; `warmup` is the share of steps in which it rises."""

    name: Literal["constant", "cosine", "one_cycle"]
    warmup: Fraction


class Augment(Config):
    """Changes to training images: `shift` by up to so many pixels each way, `flip` left to right.

    `mixup` blends pairs of examples of any kind and their targets; it is the alpha of Zhang et al. 2018, 0 is off.
    A number that is missing in one of the two is missing in the blend.
    """

    shift: Annotated[int, Field(ge=0)]
    flip: bool
    mixup: NotNegative

    def require_kind(self, name: str, kind: Kind) -> None:
        """Raise InputError where the examples of the source `name` cannot be changed in this way."""
        if kind == "tabular" and (self.shift or self.flip):
            raise InputError(f"train.augment: '{name}' is a table; allowed: shift = 0 and flip = false")

    def require_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise InputError if `shift` is as large as the images [H, W, C] of the source `name`; () is not known yet."""
        if self.shift and self.shift >= min(shape[:2], default=self.shift + 1):
            raise InputError(
                f"train.augment.shift = {self.shift}: '{name}' has images of {shape[0]}x{shape[1]}; "
                f"allowed: at most {min(shape[:2]) - 1}"
            )

    def require_compatible(self, spec: DataSpec) -> None:
        """Raise InputError where the data cannot be changed in this way."""
        self.require_kind(spec.name, spec.kind)
        self.require_shape(spec.name, spec.shape)
        if self.mixup and any(spec.categories):
            raise InputError(
                f"train.augment.mixup = {self.mixup:g}: '{spec.name}' has categories, "
                "which cannot be blended; allowed: 0"
            )


TrainingDevice = Annotated[str, AfterValidator(known_device)]


class Train(Config):
    """Parameters of the training.

    `patience` is in epochs; null trains all epochs. `keep` is the epoch whose weights are stored: the one with the
    lowest validation loss, or the last. `workers` processes share each batch. `devices` are those of single candidates,
    or of all of a framework, in place of `device`.
    """

    epochs: Count
    minimum_steps: Annotated[int, Field(ge=0)]
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
    class_weights: Annotated[Literal["balanced"] | tuple[float, ...] | None, BeforeValidator(valid_class_weights)]
    focal_gamma: NotNegative
    huber_delta: Positive
    gradient_clip: Positive | None
    augment: Augment
    patience: Count | None
    keep: Literal["best", "last"]
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    device: TrainingDevice
    devices: dict[Annotated[str, AfterValidator(known_candidate)], TrainingDevice]
    workers: Count
    seed: Seed

    @model_validator(mode="after")
    def require_gpu_for_each_worker(self) -> "Train":
        """Raise ValueError if one GPU is named for several workers, which use one each."""
        for key, device in {
            "device": self.device,
            **{f"devices.{name}": own for name, own in self.devices.items()},
        }.items():
            if ":" in device and self.workers > 1:
                raise ValueError(f"{key} = '{device}' with workers = {self.workers}; allowed: auto, cpu, cuda")
        return self

    def for_candidate(self, framework: Framework, architecture: str) -> "Train":
        """The parameters of one candidate: `device` is its own; `devices` has only the entry that sets it, if any."""
        names = (f"{framework}-{architecture}", framework)
        own = [(name, self.devices[name]) for name in names if name in self.devices][:1]
        return self.model_copy(update={"device": own[0][1] if own else self.device, "devices": dict(own)})

    @property
    def device_parameter(self) -> str:
        """The name of the parameter that sets `device`, after `for_candidate`."""
        return f"train.devices.{next(iter(self.devices))}" if self.devices else "train.device"

    @property
    def requires_gpu(self) -> bool:
        """True if training without a GPU is an error."""
        return self.device.startswith("cuda")

    @model_validator(mode="after")
    def require_example_for_each_worker(self) -> "Train":
        """Raise ValueError if a worker would get no example of the smallest batch, at least half of `batch_size`."""
        most = max(1, self.batch_size // 2)
        if self.workers > most:
            raise ValueError(f"workers = {self.workers} with batch_size = {self.batch_size}; allowed: at most {most}")
        return self

    @model_validator(mode="after")
    def require_momentum_for_nesterov(self) -> "Train":
        """Raise ValueError if `nesterov` is set without momentum."""
        if self.nesterov and self.optimizer != "sgd":
            raise ValueError(f"nesterov = true with optimizer = '{self.optimizer}'; allowed: false, or optimizer sgd")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true with momentum = 0; allowed: momentum above 0")
        return self

    @model_validator(mode="after")
    def require_optimizer_for_float16(self) -> "Train":
        """Raise ValueError if float16 is set with an optimizer that cannot skip a step whose gradients overflow."""
        if self.precision == "float16" and self.optimizer in WITHOUT_LOSS_SCALE:
            raise ValueError(
                f"precision = 'float16' with optimizer = '{self.optimizer}'; allowed: auto, float32, bfloat16"
            )
        return self

    def epochs_for(self, examples: int) -> int:
        """`epochs`, or more if they would give fewer than `minimum_steps` steps with so many training examples."""
        steps = -(-examples // self.batch_size)
        return max(self.epochs, -(-self.minimum_steps // steps))

    def loss_for(self, outputs: int) -> str:
        """The name of the loss for a model with so many `outputs`: 1 for a regression, otherwise one for each class."""
        automatic = "mse" if outputs == 1 else "cross_entropy"
        return automatic if self.loss == "auto" else self.loss

    def require_framework(self, framework: Framework) -> None:
        """Raise InputError where a framework does not have the optimizer."""
        if self.optimizer in MISSING[framework]:
            allowed = ", ".join(name for name in get_args(Optimizer) if name not in MISSING[framework])
            raise InputError(
                f"train.optimizer = '{self.optimizer}': not available in {framework}; "
                f"allowed: {allowed}; or remove {framework} from frameworks"
            )

    def require_model(self, config: ModelConfig) -> None:
        """Raise InputError where the optimizer needs the same loss of a batch several times and the model varies it."""
        if self.optimizer != "lbfgs" or not isinstance(config, Hidden):
            return
        if config.dropout or config.normalization == "batch":
            section = f"models.{type(config).__name__.lower()}"
            raise InputError(
                f"train.optimizer = 'lbfgs' evaluates each batch several times, but {section} has dropout = "
                f"{config.dropout:g} and normalization = '{config.normalization}', which change the loss each time; "
                "allowed: dropout = 0 and normalization layer or none, or another optimizer"
            )

    def require_task(self, name: str, task: Task) -> None:
        """Raise InputError where the loss or its class weights do not fit the task of the source `name`."""
        if self.loss != "auto" and LOSSES[self.loss] != task:
            allowed = ", ".join(loss for loss in LOSSES if LOSSES[loss] == task)
            raise InputError(f"train.loss = '{self.loss}' does not fit '{name}', a {task}; allowed: auto, {allowed}")
        if self.class_weights is not None and task != "classification":
            raise InputError(f"train.class_weights does not fit '{name}', a {task}; allowed: null")

    def require_processes(self, processes: int) -> None:
        """Raise InputError where a launcher has started another number of `processes` than `workers`."""
        if processes != self.workers:
            raise InputError(
                f"train.workers = {self.workers}, but the number of processes of the launcher is {processes}; "
                f"allowed: {processes}"
            )

    def require_examples(self, examples: int) -> None:
        """Raise InputError where there are fewer `examples` to train on than workers."""
        if examples < self.workers:
            raise InputError(
                f"train.workers = {self.workers}: the number of training examples is {examples}; "
                f"allowed: at most {examples}"
            )

    def require_compatible(self, spec: DataSpec) -> None:
        """Raise InputError where the changes, the loss or its class weights do not fit the data."""
        self.augment.require_compatible(spec)
        self.require_task(spec.name, spec.task)
        if self.loss == "binary_cross_entropy" and spec.outputs != 2:
            raise InputError(f"train.loss = '{self.loss}' needs 2 classes; '{spec.name}' has {spec.outputs}")
        self.require_classes(spec.name, spec.outputs)

    def require_classes(self, name: str, classes: int) -> None:
        """Raise InputError if there is not one class weight for each class of the source `name`."""
        weights = self.class_weights
        if weights not in (None, "balanced") and len(weights) != classes:
            raise InputError(
                f"the length of train.class_weights is {len(weights)}; "
                f"allowed: {classes}, a number for each class of '{name}'"
            )
