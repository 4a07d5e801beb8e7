"""Selection with the candidates' files: their outputs for the validation split, and their graphs."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.config import Device
from models.session import open_session
from pipelines.artifacts import paths, records, split_files, validation_outputs
from pipelines.artifacts.records import CandidateRecord
from pipelines.metrics import graph_latency, paired_test
from pipelines.metrics.latency import MIN_TAIL_CALLS, Latency
from pipelines.metrics.quality import METRICS
from pipelines.promote import selection
from pipelines.promote.selection import CandidateScore, Choice, Rules


def choose(candidates: Sequence[CandidateRecord], rules: Rules, device: Device) -> Choice:
    """The choice among the candidates. Raises InputError where none passes the gates or a file is missing."""
    by_name = {candidate.name: candidate for candidate in candidates}
    inputs, targets = split_files.read(paths.split("validation"))
    metric = METRICS[rules.metric]

    def terms(name: str) -> np.ndarray:
        return metric.terms(_outputs(by_name[name], len(targets)), np.asarray(targets))

    def p_value(best: str, other: str) -> float:
        return paired_test.p_value(metric, terms(best), terms(other), rules.config.resamples, rules.config.seed)

    def measure(names: Sequence[str]) -> Mapping[str, Latency]:
        return _measure([by_name[name] for name in names], inputs, device, rules.config.latency_seconds)

    return selection.choose([_score(candidate, rules) for candidate in candidates], rules, p_value, measure)


def _score(candidate: CandidateRecord, rules: Rules) -> CandidateScore:
    return CandidateScore(
        candidate.name,
        candidate.parity_passed,
        candidate.validation_score(rules.gate),
        candidate.validation_score(rules.metric),
        candidate.smallest_batch["p99_ms"],
        candidate.faster,
    )


def _outputs(candidate: CandidateRecord, examples: int) -> np.ndarray:
    """Its outputs for the validation split, float32 [N, K]."""
    return validation_outputs.read(paths.validation_outputs(candidate.candidate), candidate.file, examples)


def _measure(
    candidates: Sequence[CandidateRecord], inputs: np.ndarray, device: Device, seconds: float
) -> dict[str, Latency]:
    """Latencies of graphs, by name, in interleaved runs of the smallest batch size, on the device of `evaluate`."""
    models = [records.model(candidate.candidate, candidate.file) for candidate in candidates]
    sessions = [open_session(model, device, "evaluate.device") for model in models]
    size = candidates[0].smallest_batch_size
    times = graph_latency.time_sessions(sessions, inputs, size, seconds, MIN_TAIL_CALLS)
    return dict(zip((candidate.name for candidate in candidates), times, strict=True))
