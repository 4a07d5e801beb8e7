"""Selection of a candidate: gates, then a paired test on the validation split, then latency. Pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.errors import InputError
from models.metrics.latency import Latency
from models.metrics.quality import METRICS, formatted
from pipelines.config.params import Promote

PValue = Callable[[str, str], float]  # of the difference between the best candidate and another one, by their names
Measure = Callable[[Sequence[str]], Mapping[str, Latency]]  # latencies of candidates, by name


@dataclass(frozen=True)
class CandidateScore:
    """The values of one graph that selection depends on, all of the validation split but the latency.

    `quality` is accuracy or R2, `score` the selection metric. `faster` is false for an int8 graph that is not faster
    than the float32 graph at every batch size. `p99_ms` is the latency at the smallest measured batch size.
    `rolled_back` is why the graph may not be promoted again, empty if it may.
    """

    name: str
    parity_passed: bool
    quality: float
    score: float
    p99_ms: float
    faster: bool = True
    rolled_back: str = ""


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate that passes the gates, against the best of these: by how much it is worse, at which p-value.

    `latency` is that measured again among the tied candidates, None for others or where only one is left.
    """

    name: str
    deficit: float
    p_value: float
    is_tied: bool
    latency: Latency | None


@dataclass(frozen=True)
class Choice:
    """The selected candidate, the reason, the verdict on each candidate by its name, and the ranking behind it.

    `best` is the candidate with the best score of those that pass the gates.
    """

    selected: str
    best: str
    reason: str
    verdicts: dict[str, str]
    ranking: tuple[RankedCandidate, ...]


@dataclass(frozen=True)
class Rules:
    """The parameters of the selection, its metric, and the metric of the quality gate: `accuracy` or `r2`."""

    config: Promote
    metric: str
    gate: str

    @property
    def minimum(self) -> float:
        """The lowest quality that passes the gate."""
        return self.config.minimum_r2 if self.gate == "r2" else self.config.minimum_accuracy

    @property
    def metric_name(self) -> str:
        """The selection metric in words."""
        return self.metric.replace("_", " ")


def choose(candidates: Sequence[CandidateScore], rules: Rules, p_value: PValue, measure: Measure) -> Choice:
    """The fastest of the candidates that pass all gates and are tied with the best of these.

    Raises InputError where none passes, naming each candidate and the gates it failed.
    """
    passed = [candidate for candidate in candidates if not failures(candidate, rules)]
    if not passed:
        reasons = "; ".join(f"{candidate.name}: {', '.join(failures(candidate, rules))}" for candidate in candidates)
        raise InputError(f"promote: no candidate passes the gates, so none is promoted. {reasons}")
    sign = 1 if METRICS[rules.metric].higher_is_better else -1
    best = max(passed, key=lambda candidate: sign * candidate.score)
    ranking = _rank(best, passed, rules, p_value, measure)
    selected = min((ranked for ranked in ranking if ranked.is_tied), key=_median)
    by_name = {ranked.name: ranked for ranked in ranking}
    verdicts = {
        candidate.name: _verdict(candidate, by_name.get(candidate.name), selected, best, rules)
        for candidate in candidates
    }
    return Choice(selected.name, best.name, _reason(selected, best, ranking, rules), verdicts, ranking)


def failures(candidate: CandidateScore, rules: Rules) -> list[str]:
    """A phrase for each gate that the candidate does not pass."""
    failed = [] if candidate.parity_passed else ["parity check failed"]
    if not candidate.faster:
        failed.append("not faster than in float32 at every batch size")
    if candidate.quality < rules.minimum:
        minimum = f"promote.minimum_{rules.gate} = {rules.minimum:g}"
        failed.append(f"validation {rules.gate} {candidate.quality:.4f} < {minimum}")
    limit = rules.config.maximum_latency_ms
    if limit is not None and candidate.p99_ms > limit:
        failed.append(f"p99 latency {candidate.p99_ms:.3f} ms > promote.maximum_latency_ms = {limit:g}")
    if candidate.rolled_back:
        failed.append(f"{candidate.rolled_back}; promote.allow_rolled_back allows it")
    return failed


def _rank(
    best: CandidateScore, passed: Sequence[CandidateScore], rules: Rules, p_value: PValue, measure: Measure
) -> tuple[RankedCandidate, ...]:
    """Each candidate of `passed` against the best one; the tied ones with their latency if there are several."""
    p_values = {other.name: 1.0 if other is best else p_value(best.name, other.name) for other in passed}
    tied = [name for name, p in p_values.items() if p > rules.config.significance]
    latencies = measure(tied) if len(tied) > 1 else {}
    advantage = METRICS[rules.metric].advantage
    return tuple(
        RankedCandidate(name, advantage(best.score, score), p_values[name], name in tied, latencies.get(name))
        for name, score in ((candidate.name, candidate.score) for candidate in passed)
    )


def _median(ranked: RankedCandidate) -> float:
    return ranked.latency.p50_ms if ranked.latency else 0.0


def _verdict(
    candidate: CandidateScore,
    ranked: RankedCandidate | None,
    selected: RankedCandidate,
    best: CandidateScore,
    rules: Rules,
) -> str:
    if ranked is None:
        return f"rejected: {', '.join(failures(candidate, rules))}"
    if ranked is selected:
        return "selected"
    if not ranked.is_tied:
        return f"worse {rules.metric_name} (p = {ranked.p_value:.2g})"
    slower = f"slower: {_median(ranked):.4f} ms"
    if candidate is best:
        return f"best {rules.metric_name}, but tied and {slower}"
    return f"tied (p = {ranked.p_value:.2g}), {slower}"


def _reason(selected: RankedCandidate, best: CandidateScore, ranking: Sequence[RankedCandidate], rules: Rules) -> str:
    highest = f"best validation {rules.metric_name}, {formatted(best.score)}"
    tied = [ranked.name for ranked in ranking if ranked.is_tied]
    if len(tied) == 1:
        return f"{selected.name} has the {highest}"
    others = ", ".join(name for name in tied if name != best.name)
    return (
        f"{best.name} has the {highest}; tied with it (p > promote.significance = {rules.config.significance:g}): "
        f"{others}; {selected.name} is the fastest of these when measured again, "
        f"{_median(selected):.4f} ms"
    )
