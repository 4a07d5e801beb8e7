"""Selection of the champion: gates, then the selection metric, then latency. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import InputError
from pipelines.config.params import Promote

ROUNDING = 1e-9  # 0.985 - 0.984 is a little more than 0.001


@dataclass(frozen=True)
class CandidateScore:
    """The values of one graph that selection depends on; latencies are those of the smallest measured batch size.

    `faster` is false for an int8 graph that is not faster than the float32 graph at every batch size.
    """

    name: str
    parity_passed: bool
    score: float  # on the validation split
    p50_ms: float
    p99_ms: float
    metric: str = "accuracy"  # or r2
    faster: bool = True


@dataclass(frozen=True)
class Choice:
    """The champion, the reason for it, and the verdict on each candidate by its name."""

    champion: str
    reason: str
    verdicts: dict[str, str]


def choose(candidates: Sequence[CandidateScore], config: Promote) -> Choice:
    """The fastest of those that pass all gates and whose score is within `config.tie` of the best of these.

    Raises InputError where none passes, naming each candidate and the gates it failed.
    """
    passed = [candidate for candidate in candidates if not failures(candidate, config)]
    if not passed:
        reasons = "; ".join(f"{candidate.name}: {', '.join(failures(candidate, config))}" for candidate in candidates)
        raise InputError(f"promote: no candidate passes the gates; the current champion is kept. {reasons}")
    best = max(passed, key=lambda candidate: candidate.score)
    tied = [candidate for candidate in passed if best.score - candidate.score <= config.tie + ROUNDING]
    champion = min(tied, key=lambda candidate: candidate.p50_ms)
    verdicts = {candidate.name: _verdict(candidate, tied, config) for candidate in candidates}
    return Choice(champion.name, _reason(champion, best, tied, config), verdicts | {champion.name: "champion"})


def failures(candidate: CandidateScore, config: Promote) -> list[str]:
    """A phrase for each gate that the candidate does not pass."""
    failed = [] if candidate.parity_passed else ["parity check failed"]
    if not candidate.faster:
        failed.append("not faster than in float32 at every batch size")
    metric, minimum = candidate.metric, minimum_of(candidate.metric, config)
    if candidate.score < minimum:
        failed.append(f"validation {metric} {candidate.score:.4f} < promote.minimum_{metric} = {minimum:g}")
    limit = config.maximum_latency_ms
    if limit is not None and candidate.p99_ms > limit:
        failed.append(f"p99 latency {candidate.p99_ms:.3f} ms > promote.maximum_latency_ms = {limit:g}")
    return failed


def minimum_of(metric: str, config: Promote) -> float:
    """The lowest score that passes."""
    return config.minimum_r2 if metric == "r2" else config.minimum_accuracy


def _verdict(candidate: CandidateScore, tied: Sequence[CandidateScore], config: Promote) -> str:
    if failed := failures(candidate, config):
        return f"rejected: {', '.join(failed)}"
    return "tied, but slower" if candidate in tied else f"lower validation {candidate.metric}"


def _reason(champion: CandidateScore, best: CandidateScore, tied: Sequence[CandidateScore], config: Promote) -> str:
    if len(tied) == 1:
        return f"{champion.name} has the highest validation {champion.metric}, {champion.score:.4f}"
    names = ", ".join(candidate.name for candidate in tied)
    return (
        f"{names} are tied: within {config.tie:g} (promote.tie) of the highest validation {best.metric}, "
        f"{best.score:.4f}; {champion.name} is the fastest of them, {champion.p50_ms:.3f} ms"
    )
