import pytest

from models.errors import InputError
from pipelines.config import params
from pipelines.promote import selection
from pipelines.promote.selection import CandidateScore
from tests.pipelines.workspace import REPOSITORY


@pytest.fixture
def config():
    """minimum_accuracy 0.9, tie 0.001, no latency ceiling."""
    changes = {"minimum_accuracy": 0.9, "maximum_latency_ms": None, "tie": 0.001}
    return params.read(REPOSITORY / "params.yaml").promote.model_copy(update=changes)


def score(name, accuracy, p50_ms=1.0, p99_ms=2.0, parity=True):
    return CandidateScore(name, parity, accuracy, p50_ms, p99_ms)


def test_the_most_accurate_wins_however_slow(config):
    choice = selection.choose([score("a", 0.95, p50_ms=0.1), score("b", 0.97, p50_ms=9)], config)
    assert choice.champion == "b"
    assert "highest validation accuracy, 0.9700" in choice.reason
    assert choice.verdicts == {"a": "lower validation accuracy", "b": "champion"}


def test_among_tied_candidates_the_fastest_wins(config):
    scores = [score("a", 0.985, 3.0), score("b", 0.9845, 1.0), score("c", 0.984, 2.0)]
    choice = selection.choose(scores, config)
    assert choice.champion == "b"
    assert choice.verdicts["a"] == choice.verdicts["c"] == "tied, but slower"
    assert "a, b, c are tied" in choice.reason


def test_equality_is_measured_from_the_best_not_from_neighbour_to_neighbour(config):
    scores = [score("a", 0.9900, 3.0), score("b", 0.9892, 2.0), score("c", 0.9884, 1.0)]
    assert selection.choose(scores, config).champion == "b"


def test_a_difference_of_exactly_the_tie_is_equal(config):
    assert 0.985 - 0.984 > 0.001  # in floating point
    assert selection.choose([score("a", 0.985, 2.0), score("b", 0.984, 1.0)], config).champion == "b"


def test_without_a_tie_only_the_same_accuracy_is_equal(config):
    config = config.model_copy(update={"tie": 0.0})
    assert selection.choose([score("a", 0.985, 2.0), score("b", 0.984, 1.0)], config).champion == "a"
    assert selection.choose([score("a", 0.985, 2.0), score("b", 0.985, 1.0)], config).champion == "b"


def test_the_first_wins_where_nothing_tells_them_apart(config):
    assert selection.choose([score("a", 0.95), score("b", 0.95)], config).champion == "a"


def test_a_gate_keeps_the_best_out(config):
    config = config.model_copy(update={"maximum_latency_ms": 5.0})
    scores = [score("broken", 0.99, parity=False), score("slow", 0.98, p99_ms=5.1), score("fit", 0.91)]
    choice = selection.choose(scores, config)
    assert choice.champion == "fit"
    assert choice.verdicts["broken"] == "rejected: parity check failed"
    assert choice.verdicts["slow"] == "rejected: p99 latency 5.100 ms > promote.maximum_latency_ms = 5"


def test_an_int8_graph_that_is_not_faster_is_no_candidate(config):
    slow = CandidateScore("a-int8", True, 0.99, 1.0, 2.0, faster=False)
    choice = selection.choose([slow, score("a", 0.98)], config)
    assert choice.champion == "a"
    assert choice.verdicts["a-int8"] == "rejected: not faster than in float32 at every batch size"


def test_a_rejected_candidate_does_not_set_the_bar_for_a_tie(config):
    scores = [score("broken", 0.9905, parity=False), score("a", 0.99, 2.0), score("b", 0.9891, 1.0)]
    assert selection.choose(scores, config).champion == "b"


def test_the_limits_themselves_pass(config):
    config = config.model_copy(update={"maximum_latency_ms": 5.0})
    assert selection.failures(score("a", 0.9, p99_ms=5.0), config) == []


def test_no_candidate_passes_names_each_and_every_gate(config):
    scores = [score("a", 0.5, parity=False), score("b", 0.8)]
    with pytest.raises(InputError) as caught:
        selection.choose(scores, config)
    message = str(caught.value)
    assert "a: parity check failed, validation accuracy 0.5000 < promote.minimum_accuracy = 0.9" in message
    assert "b: validation accuracy 0.8000 < promote.minimum_accuracy = 0.9" in message
    assert "\n" not in message
