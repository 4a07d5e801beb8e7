"""Decision between the selected candidate and the current champion. Pure functions."""

from dataclasses import dataclass

from models.metrics.quality import METRICS, formatted
from pipelines.promote import selection
from pipelines.promote.selection import CandidateScore, Rules


@dataclass(frozen=True)
class Comparison:
    """The selected candidate, the challenger, and the current champion on the same `examples` of the validation split.

    `note` says which these are where the champion was trained on other data.
    """

    challenger: CandidateScore
    champion: CandidateScore
    version: str
    p_value: float
    examples: int
    note: str = ""

    @property
    def name(self) -> str:
        """The champion and its version."""
        return f"{self.champion.name}, version {self.version}"

    def gain(self, metric: str) -> float:
        """How much better the challenger is in the metric; negative where it is worse."""
        return METRICS[metric].advantage(self.challenger.score, self.champion.score)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger replaces the current champion, the reason, and the comparison, if one was made."""

    replaces: bool
    reason: str
    comparison: Comparison | None = None


def decide(comparison: Comparison, rules: Rules) -> Decision:
    """The challenger replaces a champion that fails a gate, or that it exceeds by a significant minimum gain."""
    version, name = f"the champion, version {comparison.version}", comparison.challenger.name
    if failed := selection.failures(comparison.champion, rules):
        return Decision(True, f"{version}, does not pass the gates: {', '.join(failed)}", comparison)
    gain, config, scores = comparison.gain(rules.metric), rules.config, _scores(comparison, rules)
    if gain <= 0:
        return Decision(False, f"{name} is not better than {version}: {scores}", comparison)
    if gain < config.minimum_gain:
        limit = f"gain {formatted(gain)} < promote.minimum_gain = {config.minimum_gain:g}"
        return Decision(False, f"{name} is not sufficiently better than {version}: {scores}; {limit}", comparison)
    if comparison.p_value > config.significance:
        limit = f"> promote.significance = {config.significance:g}"
        return Decision(False, f"{name} is not significantly better than {version}: {scores} {limit}", comparison)
    return Decision(True, f"{name} is better than {version}: {scores}", comparison)


def _scores(comparison: Comparison, rules: Rules) -> str:
    challenger, champion = (graph.score for graph in (comparison.challenger, comparison.champion))
    return (
        f"validation {rules.metric_name} {formatted(challenger)} against {formatted(champion)} on the same "
        f"{comparison.examples} examples{comparison.note}, p = {comparison.p_value:.2g}"
    )
