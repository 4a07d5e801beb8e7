"""Choice among the candidates, and comparison with the current champion, by the files of earlier stages."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.config import Device
from models.metrics import paired_test
from models.metrics.latency import MIN_TAIL_CALLS, Latency
from models.metrics.quality import METRICS
from models.onnx import graph_latency, inference
from models.onnx.session import Session, open_session
from pipelines.artifacts import example_hashes, paths, records, split_files, validation_outputs
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote import selection
from pipelines.promote.current_champion import CurrentChampion
from pipelines.promote.decision import Comparison
from pipelines.promote.selection import CandidateScore, Choice, Rules
from pipelines.tracking import model_registry


def choose(
    candidates: Sequence[CandidateRecord], rules: Rules, device: Device, rolled_back: Mapping[str, str]
) -> Choice:
    """The choice among the candidates; `rolled_back` are SHA-256 of graphs that are rejected, with reasons.

    Raises InputError where none passes the gates or a file is missing.
    """
    by_name = {candidate.name: candidate for candidate in candidates}
    inputs, targets = split_files.read(paths.split("validation"))
    metric = METRICS[rules.metric]

    def terms(name: str) -> np.ndarray:
        return metric.terms(_outputs(by_name[name], len(targets)), np.asarray(targets))

    def p_value(best: str, other: str) -> float:
        return _p_value(terms(best), terms(other), rules)

    def measure(names: Sequence[str]) -> Mapping[str, Latency]:
        return _measure([by_name[name] for name in names], inputs, device, rules.config.latency_seconds)

    scores = [_score(candidate, rules, rolled_back) for candidate in candidates]
    return selection.choose(scores, rules, p_value, measure)


def compare(challenger: CandidateRecord, champion: CurrentChampion, rules: Rules, device: Device) -> Comparison:
    """The challenger and the current champion, whose graph is run again, on the current validation split.

    Their scores are those of examples that neither was trained on. Of the gate of the champion all examples count: its
    training examples can only be in its favour, and a few others would decide by chance.
    """
    inputs, targets = split_files.read(paths.split("validation"))
    targets, metric = np.asarray(targets), METRICS[rules.metric]
    session = open_session(champion.model, device, "evaluate.device")
    outputs = inference.predict(session, inputs), _outputs(challenger, len(targets))
    quality = METRICS[rules.gate](outputs[0], targets)
    rows, note = _comparable(inputs, challenger, champion)
    targets, outputs = targets[rows], (outputs[0][rows], outputs[1][rows])
    before, now = (metric.terms(each, targets) for each in outputs)
    p99_ms = _p99_ms(session, inputs, challenger, rules)
    return Comparison(
        replace(_score(challenger, rules, {}), score=float(metric.summarise(now))),
        CandidateScore(str(champion.manifest["name"]), True, quality, float(metric.summarise(before)), p99_ms),
        champion.version,
        _p_value(now, before, rules),
        len(targets),
        note,
    )


def _comparable(inputs: np.ndarray, challenger: CandidateRecord, champion: CurrentChampion) -> tuple[np.ndarray, str]:
    """Which examples neither was trained on, bool [N], and a note on them if the champion was trained on other data."""
    everything = np.ones(len(inputs), bool)
    if champion.manifest["provenance"]["data_sha256"] == challenger.training["data_sha256"]:
        return everything, ""
    hashes = model_registry.training_examples(champion.registered) if champion.registered else None
    if hashes is None or (unseen := ~np.isin(example_hashes.of(inputs), hashes)).sum() == 0:
        return everything, ", some of which the champion may have been trained on"
    return unseen, ", which neither was trained on"


def _p_value(first: np.ndarray, second: np.ndarray, rules: Rules) -> float:
    """Of the difference in the selection metric, from its terms."""
    config = rules.config
    return paired_test.p_value(METRICS[rules.metric], first, second, config.resamples, config.seed)


def _p99_ms(session: Session, inputs: np.ndarray, like: CandidateRecord, rules: Rules) -> float:
    """Latency of the current champion at the batch size of the gate; 0 without that gate."""
    if rules.config.maximum_latency_ms is None:
        return 0.0
    seconds, size = rules.config.latency_seconds, like.smallest_batch_size
    (latency,) = graph_latency.time_sessions([session], inputs, size, seconds, MIN_TAIL_CALLS)
    assert latency.p99_ms is not None  # as so many calls were measured
    return latency.p99_ms


def _score(candidate: CandidateRecord, rules: Rules, rolled_back: Mapping[str, str]) -> CandidateScore:
    return CandidateScore(
        candidate.name,
        candidate.parity_passed,
        candidate.validation_score(rules.gate),
        candidate.validation_score(rules.metric),
        candidate.smallest_batch["p99_ms"],
        candidate.faster,
        rolled_back.get(candidate.sha256, ""),
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
