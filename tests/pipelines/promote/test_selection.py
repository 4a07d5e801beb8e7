import pytest

from models.errors import InputError
from models.metrics.latency import Latency
from pipelines.config import params
from pipelines.promote import selection
from pipelines.promote.selection import CandidateScore, Rules
from tests.pipelines.workspace import REPOSITORY


@pytest.fixture
def config():
    """minimum_accuracy 0.9, significance 0.05, no latency ceiling."""
    changes = {"minimum_accuracy": 0.9, "maximum_latency_ms": None, "significance": 0.05}
    return params.read(REPOSITORY / "params.yaml").promote.model_copy(update=changes)


def score(name, accuracy, p99_ms=2.0, parity=True, **others):
    return CandidateScore(name, parity, accuracy, others.pop("score", accuracy), p99_ms, **others)


def choose(scores, config, p_values=None, p50_ms=None, metric="accuracy"):
    """The choice, for these p-values of the others against the best and these new medians, by name."""

    def measure(names):
        return {name: Latency(p50_ms[name], 1.0, 1.0, 100, 1000) for name in names}

    return selection.choose(
        scores, Rules(config, metric, "accuracy"), lambda best, other: (p_values or {}).get(other, 0.001), measure
    )


def test_the_most_accurate_wins_where_no_other_is_tied(config):
    choice = choose([score("a", 0.95), score("b", 0.97)], config)
    assert choice.selected == choice.best == "b"
    assert choice.reason == "b has the best validation accuracy, 0.9700"
    assert choice.verdicts == {"a": "worse accuracy (p = 0.001)", "b": "selected"}


def test_among_tied_candidates_the_fastest_by_the_new_measurement_wins(config):
    scores = [score("a", 0.985), score("b", 0.96), score("c", 0.97), score("d", 0.98)]
    times = {"a": 3.0, "b": 1.0, "c": 2.0}
    choice = choose(scores, config, {"b": 0.06, "c": 0.5, "d": 0.049}, times)
    assert (choice.selected, choice.best) == ("b", "a")
    assert choice.verdicts == {
        "a": "best accuracy, but tied and slower: 3.0000 ms",
        "b": "selected",
        "c": "tied (p = 0.5), slower: 2.0000 ms",
        "d": "worse accuracy (p = 0.049)",
    }
    assert choice.reason == (
        "a has the best validation accuracy, 0.9850; tied with it (p > promote.significance = 0.05): b, c; "
        "b is the fastest of these when measured again, 1.0000 ms"
    )
    assert [(one.name, one.is_tied, one.latency is None) for one in choice.ranking] == [
        ("a", True, False),
        ("b", True, False),
        ("c", True, False),
        ("d", False, True),
    ]
    assert choice.ranking[1].deficit == pytest.approx(0.025)


def test_a_p_value_of_exactly_the_significance_is_no_tie(config):
    assert choose([score("a", 0.985), score("b", 0.98)], config, {"b": 0.05}).selected == "a"


def test_the_first_wins_where_nothing_tells_them_apart(config):
    assert choose([score("a", 0.95), score("b", 0.95)], config, {"b": 1.0}, {"a": 1.0, "b": 1.0}).selected == "a"


def test_a_lower_loss_is_better(config):
    scores = [score("a", 0.95, score=0.3), score("b", 0.94, score=0.2)]
    choice = choose(scores, config, metric="log_loss")
    assert choice.selected == "b"
    assert choice.reason == "b has the best validation log loss, 0.2000"
    assert choice.verdicts["a"] == "worse log loss (p = 0.001)"
    assert choice.ranking[0].deficit == pytest.approx(0.1)


def test_a_gate_keeps_the_best_out(config):
    config = config.model_copy(update={"maximum_latency_ms": 5.0})
    scores = [score("broken", 0.99, parity=False), score("slow", 0.98, p99_ms=5.1), score("fit", 0.91)]
    choice = choose(scores, config)
    assert choice.selected == "fit"
    assert choice.verdicts["broken"] == "rejected: parity check failed"
    assert choice.verdicts["slow"] == "rejected: p99 latency 5.100 ms > promote.maximum_latency_ms = 5"
    assert [one.name for one in choice.ranking] == ["fit"]


def test_the_gate_is_accuracy_whatever_metric_selects(config):
    scores = [score("a", 0.89, score=0.1), score("b", 0.9, score=0.2)]
    choice = choose(scores, config, metric="log_loss")
    assert choice.selected == "b"
    assert choice.verdicts["a"] == "rejected: validation accuracy 0.8900 < promote.minimum_accuracy = 0.9"


def test_an_int8_graph_that_is_not_faster_is_no_candidate(config):
    choice = choose([score("a-int8", 0.99, faster=False), score("a", 0.98)], config)
    assert choice.selected == "a"
    assert choice.verdicts["a-int8"] == "rejected: not faster than in float32 at every batch size"


def test_candidates_are_compared_with_the_best_that_passes(config):
    compared = []
    scores = [score("broken", 0.999, parity=False), score("a", 0.99), score("b", 0.98)]
    rules = Rules(config, "accuracy", "accuracy")
    selection.choose(scores, rules, lambda best, other: compared.append((best, other)) or 0.001, lambda names: {})
    assert compared == [("a", "b")]


def test_the_limits_themselves_pass(config):
    config = config.model_copy(update={"maximum_latency_ms": 5.0})
    assert selection.failures(score("a", 0.9, p99_ms=5.0), Rules(config, "accuracy", "accuracy")) == []


def test_no_candidate_passes_names_each_and_every_gate(config):
    scores = [score("a", 0.5, parity=False), score("b", 0.8)]
    with pytest.raises(InputError) as caught:
        choose(scores, config)
    message = str(caught.value)
    assert "a: parity check failed, validation accuracy 0.5000 < promote.minimum_accuracy = 0.9" in message
    assert "b: validation accuracy 0.8000 < promote.minimum_accuracy = 0.9" in message
    assert "\n" not in message
