"""The content of the reports of a promotion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.export_formats import ONNX
from models.spec import DataSpec
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote.decision import Decision
from pipelines.promote.selection import Choice, Rules


@dataclass(frozen=True)
class Promotion:
    """All graphs, the choice among them, the decision against the earlier champion, the rules, and champion.json.

    By candidate: `histories`, the epochs of its training, and `errors`, its largest errors on the test split. `data` is
    the report on the splits, and `data_spec` their specification: a champion may have been trained on others.
    """

    candidates: Sequence[CandidateRecord]
    choice: Choice
    decision: Decision
    rules: Rules
    manifest: Mapping[str, Any]
    histories: Mapping[str, np.ndarray]
    errors: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, Any]
    data_spec: DataSpec

    @cached_property
    def champion(self) -> CandidateRecord | None:
        """The graph that is the champion, or None where the champion is not one of these candidates."""
        sha256 = self.manifest["model"]["sha256"]
        return next((graph for graph in self.candidates if graph.sha256 == sha256), None)

    @cached_property
    def spec(self) -> DataSpec:
        """The specification of the champion's data."""
        return DataSpec.from_dict(self.manifest["spec"])

    @cached_property
    def test(self) -> dict[str, float]:
        """The champion's metrics on its test split."""
        return self._metrics("test/")

    @cached_property
    def smallest_batch(self) -> tuple[int, float]:
        """The smallest batch size that the champion's latency was measured at, and its median in ms."""
        sizes = {
            int(name.split("/")[0]): value
            for name, value in self._metrics("latency/batch_").items()
            if name.endswith("/p50_ms")
        }
        return min(sizes.items())

    def _metrics(self, prefix: str) -> dict[str, float]:
        values = self.manifest["metrics"].items()
        return {name.removeprefix(prefix): value for name, value in values if name.startswith(prefix)}

    @property
    def trained(self) -> list[CandidateRecord]:
        """The float32 graph of each candidate."""
        return [graph for graph in self.candidates if graph.file == ONNX]

    @property
    def metric(self) -> str:
        """The metric of the task that the reports show: `accuracy`, or `r2` of a regression."""
        return self.rules.gate
