"""What a person can see of a training: each epoch in MLflow, in TensorBoard, and as a table of its layers."""

import numpy as np

from models.batches import Data, spread
from models.epoch import Epoch
from models.interfaces import EventWriter, FrameworkModel, Learner
from models.snapshot import Snapshot
from models.spec import DataSpec
from pipelines.artifacts.layer_history import Row
from pipelines.plotting import decision_boundary
from pipelines.plotting.palette import PALETTE
from pipelines.tracking.runs import Run
from pipelines.train.image_grid import mosaic

EXAMPLES = 64  # of the training split that the layers are looked at with
PICTURE = "epoch/decision boundary"  # MLflow draws it in the group `epoch`
Events = EventWriter[FrameworkModel]


class Watch:
    """Looks on while one model is trained, and changes nothing in it."""

    def __init__(self, run: Run, events: Events, spec: DataSpec, data: Data, epochs: int, histograms: bool) -> None:
        self.run = run
        self.events = events
        self.epochs = epochs
        self.histograms = histograms
        self.batch = spread(data.train, EXAMPLES)
        self.plane = (
            decision_boundary.plane(data.train.inputs, data.train.targets)
            if decision_boundary.is_applicable(spec)
            else None
        )
        self.layers: list[Row] = []

    def epoch(self, epoch: Epoch, learner: Learner) -> None:
        """Record one epoch."""
        snapshot = learner.inspect(self.batch)
        layers = snapshot.numbers()
        numbers = {f"epoch/{name}": value for name, value in epoch.values().items() if name != "epoch"}
        numbers |= {f"layers/{name}": value for name, value in layers.items()}
        self.run.log_epoch(epoch.epoch, numbers)
        self.events.scalars(numbers, epoch.epoch)
        self.layers += [_row(epoch.epoch, name, value) for name, value in layers.items()]
        if self.histograms:
            self._histograms(snapshot, epoch.epoch)
        if self.plane and decision_boundary.is_due(epoch.epoch, self.epochs):
            self._boundary(self.plane, learner, epoch.epoch)

    def _histograms(self, snapshot: Snapshot, epoch: int) -> None:
        """Values that are no numbers have no histogram; the training is about to end because of them."""
        for kind, arrays in (("weights", snapshot.weights), ("gradients", snapshot.gradients)):
            finite = {f"{kind}/{name}": array for name, array in arrays.items() if np.isfinite(array).all()}
            self.events.histograms(finite, epoch)

    def _boundary(self, plane: decision_boundary.Plane, learner: Learner, epoch: int) -> None:
        logits = learner.predict(plane.grid)
        if not np.isfinite(logits).all():
            return
        image = decision_boundary.draw(plane, decision_boundary.probabilities(logits), PALETTE)
        self.run.log_image(PICTURE, image, epoch)
        self.events.image(PICTURE, image, epoch)


def introduce(events: Events, model: FrameworkModel, spec: DataSpec, data: Data) -> None:
    """What is there before the first epoch: the graph, and images as the model gets them."""
    events.graph(model, spec.example(2))
    if spec.kind == "image":
        events.image("training images", mosaic(data.train), 0)


def _row(epoch: int, name: str, value: float) -> Row:
    statistic, _, layer = name.partition("/")
    return epoch, statistic, layer, value
