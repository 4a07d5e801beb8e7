"""The limit of a model's latency, measured with its exported graph before it is trained: weights do not change it."""

from pathlib import Path
from tempfile import TemporaryDirectory

from optuna import Trial, TrialPruned

from models.config import ModelConfig
from models.export_formats import ONNX
from models.metrics.latency import MIN_TAIL_CALLS
from models.onnx import graph_latency
from models.onnx.session import open_session
from models.training.batches import TrainingData
from pipelines.config.params import Params
from pipelines.execution.candidate import Candidate


class LatencyLimit:
    """Measures each configuration of the model once."""

    def __init__(self, chosen: Candidate, settings: Params, data: TrainingData) -> None:
        self.chosen = chosen
        self.limit = settings.sweep.maximum_latency_ms
        self.config = settings.evaluate
        self.data = data
        self.measured: dict[ModelConfig, float] = {}

    def require(self, trial: Trial, settings: Params) -> None:
        """Raise TrialPruned if the graph of the model is slower than the limit."""
        if self.limit is None:
            return
        model_config = settings.models.of(self.chosen.architecture)
        if model_config not in self.measured:
            self.chosen.framework_module("device").choose(settings.train)
            self.measured[model_config] = self._measure(model_config)
        p99_ms = self.measured[model_config]
        trial.set_user_attr("latency_ms", p99_ms)
        trial.set_constraint("latency", p99_ms / self.limit - 1)
        if p99_ms > self.limit:
            raise TrialPruned(f"p99 latency {p99_ms:.3f} ms > sweep.maximum_latency_ms = {self.limit:g}")

    def _measure(self, model_config: ModelConfig) -> float:
        """The 99th percentile in milliseconds at the smallest batch size."""
        spec = self.data.spec
        model = self.chosen.architecture_module().build(spec, model_config)
        with TemporaryDirectory() as folder:
            self.chosen.framework_module("export").export(model, spec, Path(folder))
            session = open_session(Path(folder) / ONNX, self.config.device, "evaluate.device")
        size, seconds = min(self.config.latency_batches), self.config.latency_seconds
        (times,) = graph_latency.time_sessions([session], self.data.validation.inputs, size, seconds, MIN_TAIL_CALLS)
        assert times.p99_ms is not None  # as so many calls were measured
        return times.p99_ms
