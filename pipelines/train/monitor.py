"""Records of a training in progress: metrics and plots in MLflow and TensorBoard, and a table of layer statistics."""

from collections.abc import Iterator, Mapping

import numpy as np

from models.interfaces import EventWriter, FrameworkModel, Learner
from models.plotting import decision_boundary
from models.plotting.palette import PALETTE
from models.training.batches import TrainingData, evenly_spaced
from models.training.epoch import Epoch
from models.training.snapshot import Snapshot
from pipelines.artifacts.layer_history import Row
from pipelines.tracking.run import Run
from pipelines.train import image_grid

INSPECTED_EXAMPLES = 64  # of the training split
BOUNDARY = "epoch/decision boundary"  # name of the image; MLflow shows it in the group `epoch`
Events = EventWriter[FrameworkModel]


class TrainingMonitor:
    """Records each epoch of a training of `epochs`, without changing the model."""

    def __init__(self, run: Run, events: Events, data: TrainingData, epochs: int, histograms: bool) -> None:
        self.run = run
        self.events = events
        self.data = data
        self.epochs = epochs
        self.histograms = histograms
        self.batch = evenly_spaced(data.train, INSPECTED_EXAMPLES)
        points = data.train.inputs, data.train.targets
        has_boundary = decision_boundary.is_applicable(data.spec)
        self.plane = decision_boundary.plane(*points, data.spec) if has_boundary else None
        self.layers: list[Row] = []
        self.unrecorded: list[tuple[Epoch, Mapping[str, float]]] = []  # inspected epochs with their layer statistics

    def start(self, model: FrameworkModel) -> None:
        """Record the graph of the model, and training images as the model reads them."""
        self.events.graph(model, self.data.spec.example(2))
        if self.data.spec.kind == "image":
            self.events.image("training images", image_grid.draw(self.data.train), 0)

    def restore(self, history: list[Epoch], layers: list[Row]) -> None:
        """Record the metrics of the epochs that an interrupted training has completed, where they are missing."""
        self.layers = list(layers)
        statistics: dict[int, dict[str, float]] = {}
        for number, statistic, layer, value in layers:
            statistics.setdefault(number, {})[f"{statistic}/{layer}"] = value
        for epoch in history:
            self._scalars(epoch, statistics.get(epoch.epoch, {}))

    def inspect(self, epoch: Epoch, learner: Learner) -> None:
        """Inspect the model after an epoch, whose metrics are recorded by `record`."""
        snapshot = learner.inspect(self.batch)
        layers = snapshot.statistics()
        self.unrecorded.append((epoch, layers))
        self.layers += [_row(epoch.epoch, name, value) for name, value in layers.items()]
        if self.histograms:
            self._histograms(snapshot, epoch.epoch)
        if self.plane and decision_boundary.is_due(epoch.epoch, self.epochs):
            self._boundary(self.plane, learner, epoch.epoch)

    def record(self) -> Iterator[Epoch]:
        """Record the metrics of the epochs that were inspected since the last call; these epochs."""
        while self.unrecorded:
            epoch, layers = self.unrecorded.pop(0)
            self._scalars(epoch, layers)
            yield epoch

    def _scalars(self, epoch: Epoch, layers: Mapping[str, float]) -> None:
        values = {f"epoch/{name}": value for name, value in epoch.values().items() if name != "epoch"}
        values |= {f"layers/{name}": value for name, value in layers.items()}
        self.run.log_once(values, epoch.epoch)
        self.events.scalars(values, epoch.epoch)

    def _histograms(self, snapshot: Snapshot, epoch: int) -> None:
        """Write histograms of finite arrays; others have none, and end the training."""
        for kind, arrays in (("weights", snapshot.weights), ("gradients", snapshot.gradients)):
            finite = {f"{kind}/{name}": array for name, array in arrays.items() if np.isfinite(array).all()}
            self.events.histograms(finite, epoch)

    def _boundary(self, plane: decision_boundary.Plane, learner: Learner, epoch: int) -> None:
        logits = learner.predict(plane.grid)
        if not np.isfinite(logits).all():
            return
        image = decision_boundary.draw(plane, decision_boundary.probabilities(logits), PALETTE)
        self.run.log_image(BOUNDARY, image, epoch)
        self.events.image(BOUNDARY, image, epoch)


def _row(epoch: int, name: str, value: float) -> Row:
    statistic, _, layer = name.partition("/")
    return epoch, statistic, layer, value
