"""Which candidate becomes champion: gates first, then the choice. Pure, so that it can be tested to the letter."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import InputError
from pipelines.config.params import Promote

ROUNDING = 1e-9  # 0.985 - 0.984 is a little more than 0.001


@dataclass(frozen=True)
class Standing:
    """What counts about a graph. The times are of one call at the smallest batch that was measured.

    `faster` is that of an int8 graph: it took less time than the graph in float32 at every batch size.
    """

    name: str
    parity: bool
    score: float  # on the validation split
    p50_ms: float
    p99_ms: float
    measure: str = "accuracy"  # or r2
    faster: bool = True


@dataclass(frozen=True)
class Choice:
    """The champion, why it is, and a word on every candidate by its name."""

    champion: str
    reason: str
    verdicts: dict[str, str]


def choose(standings: Sequence[Standing], settings: Promote) -> Choice:
    """The fastest of those whose score is within `settings.tie` of the best that pass all gates.

    Raises InputError where none passes, naming each candidate and the gates it failed.
    """
    passed = [standing for standing in standings if not failures(standing, settings)]
    if not passed:
        raise InputError(f"promote: no candidate passes; the champion stays as it is. {_refusals(standings, settings)}")
    best = max(passed, key=lambda standing: standing.score)
    equal = [standing for standing in passed if best.score - standing.score <= settings.tie + ROUNDING]
    champion = min(equal, key=lambda standing: standing.p50_ms)
    verdicts = {standing.name: _verdict(standing, champion, equal, settings) for standing in standings}
    return Choice(champion.name, _reason(champion, best, equal, settings), verdicts)


def failures(standing: Standing, settings: Promote) -> list[str]:
    """The gates that a candidate does not pass, in words."""
    found = [] if standing.parity else ["parity does not hold"]
    if not standing.faster:
        found.append("not faster than in float32 at every batch size")
    measure, minimum = standing.measure, minimum_of(standing.measure, settings)
    if standing.score < minimum:
        found.append(f"validation {measure} {standing.score:.4f} < promote.minimum_{measure} = {minimum:g}")
    limit = settings.maximum_latency_ms
    if limit is not None and standing.p99_ms > limit:
        found.append(f"p99 latency {standing.p99_ms:.3f} ms > promote.maximum_latency_ms = {limit:g}")
    return found


def minimum_of(measure: str, settings: Promote) -> float:
    """The smallest score that passes."""
    return settings.minimum_r2 if measure == "r2" else settings.minimum_accuracy


def _refusals(standings: Sequence[Standing], settings: Promote) -> str:
    return "; ".join(f"{standing.name}: {', '.join(failures(standing, settings))}" for standing in standings)


def _verdict(standing: Standing, champion: Standing, equal: Sequence[Standing], settings: Promote) -> str:
    if standing is champion:
        return "champion"
    if failed := failures(standing, settings):
        return f"refused: {', '.join(failed)}"
    return "equal, but slower" if standing in equal else "less accurate"


def _reason(champion: Standing, best: Standing, equal: Sequence[Standing], settings: Promote) -> str:
    if len(equal) == 1:
        return f"{champion.name} has the highest validation {champion.measure}, {champion.score:.4f}"
    names = ", ".join(standing.name for standing in equal)
    return (
        f"{names} are equal: within {settings.tie:g} (promote.tie) of the highest validation {best.measure}, "
        f"{best.score:.4f}; of them {champion.name} is the fastest, {champion.p50_ms:.3f} ms"
    )
