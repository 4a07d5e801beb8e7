"""Typed interface between `pipelines` and the framework packages `models.torch` and `models.keras`.

A protocol called `...Module` stands for a module of either package: its methods are the module's functions.
`ModelT` is the framework's class of models; outside the package a model is an opaque `FrameworkModel`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NewType, Protocol, TypeVar

import numpy as np

from models.config import Train
from models.spec import DataSpec
from models.training.augment import Draw
from models.training.batches import Batch, TrainingData
from models.training.device import Device, Precision
from models.training.epoch import Epoch, Progress
from models.training.launchers import Place
from models.training.recovery import NO_RECOVERY, LearnerState, Recovery
from models.training.snapshot import Snapshot
from models.training.workers import ALONE, Workers

FrameworkModel = NewType("FrameworkModel", object)
Predict = Callable[[np.ndarray], np.ndarray]  # raw [N, *shape] to float32 [N, K]
ModelT_co = TypeVar("ModelT_co", covariant=True)
ModelT_contra = TypeVar("ModelT_contra", contravariant=True)
ConfigT_contra = TypeVar("ConfigT_contra", contravariant=True)


class Totals(NamedTuple):
    """Sums over the examples seen: loss and what each counts in it, right classes or absolute errors, gradient norm,
    and their number; and the number of steps that were not taken."""

    loss: float
    weight: float
    metric: float
    gradient_norm: float
    examples: float
    skipped_steps: float


class Learner(Protocol):
    """A model with its optimizer on a device of one framework.

    If it `scales_loss`, as in float16, steps whose gradients overflow are not taken; their gradient norm counts as 0.
    """

    scales_loss: bool

    def keep(self, data: TrainingData) -> bool:
        """Keep the examples on a GPU for the whole training, if they fit; False if they are not kept.

        Of kept examples `train_batches` and `validate_batch` take draws."""

    def train_batches(self, batches: Sequence[Batch | Draw], rates: Sequence[float]) -> None:
        """One optimizer step for each batch, of one size, at its learning rate; adds to the totals, without waiting
        for the device."""

    def validate_batch(self, batch: Batch | Draw) -> None:
        """Add loss and metric of a batch, in float32 and in inference mode."""

    def read_totals(self) -> Totals:
        """The totals since they were last cleared; this waits for the device."""

    def clear_totals(self) -> None:
        """Set all totals to 0."""

    def get_weights(self) -> dict[str, np.ndarray]:
        """A copy of all weights and statistics."""

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Replace all weights and statistics by a copy."""

    def state(self) -> LearnerState:
        """A copy of weights, optimizer and random generators, on the CPU."""

    def restore(self, state: LearnerState) -> None:
        """Restore a state: training continues with the same numbers."""

    def inspect(self, batch: Batch) -> Snapshot:
        """Layer statistics, weights and gradients for a batch, in float32 and inference mode. Changes nothing."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Logits float32 [N,K] of raw inputs [N, *shape] in inference mode."""


OnEpoch = Callable[[Epoch, Learner], None]
OnStep = Callable[[Progress], None]


class EventWriter(Protocol[ModelT_contra]):
    """Writer of one training's TensorBoard event file."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""

    def histograms(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Add a histogram of each array, whose values are finite."""

    def image(self, tag: str, image_HWC: np.ndarray, step: int) -> None:
        """Add an image, uint8 with 1 or 3 channels."""

    def graph(self, model: ModelT_contra, example: np.ndarray) -> None:
        """Add the graph of a model, traced with raw inputs [N, *shape]."""

    def close(self) -> None:
        """Write pending events and close the file."""


class ArchitectureModule(Protocol[ConfigT_contra, ModelT_co]):
    """A module named after an architecture, such as `cnn`."""

    def build(self, spec: DataSpec, config: ConfigT_contra) -> ModelT_co:
        """A new model of raw examples [N, *shape] to logits float32 [N, K]."""


class BoardModule(Protocol[ModelT_contra]):
    """The module `board`."""

    def EventWriter(self, folder: Path) -> EventWriter[ModelT_contra]:  # noqa: N802  # a class in both packages
        """A writer of a new event file in `folder`."""


class DeviceModule(Protocol):
    """The module `device`."""

    def choose(self, config: Train, local_rank: int = 0) -> Device:
        """Seed the framework and choose its device, for worker `local_rank` of this machine.

        Raises InputError where the requested one is not available.
        """

    def reason_against_gpu(self, config: Train, local_rank: int = 0) -> str:
        """The reason why a training does not use a GPU; empty if it does. Raises InputError as `choose`."""

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether memory of the GPU or of the machine could not be allocated."""

    def on_cpu(self) -> None:
        """Compute on the CPU. Called before anything else uses the framework."""


class ExportModule(Protocol[ModelT_contra]):
    """The module `export`."""

    def export(self, model: ModelT_contra, spec: DataSpec, folder: Path) -> None:
        """Write `model.onnx` and the framework's own formats into an existing folder."""

    def predictor(self, model: ModelT_contra, spec: DataSpec, /) -> Predict:
        """The trained model as a function of raw [N, *shape] to logits [N, K], or standardised targets [N, 1]."""


class FitModule(Protocol[ModelT_contra]):
    """The module `fit`."""

    def fit(
        self,
        model: ModelT_contra,
        data: TrainingData,
        config: Train,
        device: Device,
        on_epoch: OnEpoch,
        on_step: OnStep,
        recovery: Recovery = NO_RECOVERY,
        workers: Workers = ALONE,
    ) -> list[Epoch]:
        """Train the model in place, or continue an interrupted training; each of several workers calls this.

        Raises NotFiniteError where the loss becomes NaN or infinite, LostWorkerError where another worker has ended.
        """

    def step_seconds(
        self, build: Callable[[], ModelT_contra], data: TrainingData, config: Train, device: Device
    ) -> Mapping[Precision, float]:
        """The duration in seconds of a training step in each precision, of new models by `build`, which has the
        parameters of ArchitectureModule bound. Draws from the framework's random generators: seed them afterwards."""


class StoreModule(Protocol[ModelT_contra]):
    """The module `store`."""

    def get_weights(self, model: ModelT_contra) -> dict[str, np.ndarray]:
        """All weights and moving statistics, float32, copied."""

    def set_weights(self, model: ModelT_contra, weights: dict[str, np.ndarray]) -> None:
        """Copy weights in. Raises InputError where names or shapes differ from the model's."""

    def save(self, model: ModelT_contra, path: Path) -> None:
        """Write the weights of a model."""

    def load(self, model: ModelT_contra, path: Path) -> None:
        """Read weights into a model that was built with the same configuration."""

    def parameters(self, model: ModelT_contra) -> int:
        """The number of trainable parameters."""


class WorkersModule(Protocol):
    """The module `workers`."""

    def join(self, place: Place, device: Device) -> Workers:
        """Connect to the other workers, and wait for all of them. Raises LostWorkerError if that fails."""
