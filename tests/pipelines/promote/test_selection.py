import pytest

from models.errors import InputError
from pipelines.config import params
from pipelines.promote import selection
from pipelines.promote.selection import Standing
from tests.pipelines.workspace import REPOSITORY


@pytest.fixture
def settings():
    """minimum_accuracy 0.9, tie 0.001, no latency ceiling."""
    changes = {"minimum_accuracy": 0.9, "maximum_latency_ms": None, "tie": 0.001}
    return params.read(REPOSITORY / "params.yaml").promote.model_copy(update=changes)


def standing(name, accuracy, p50_ms=1.0, p99_ms=2.0, parity=True):
    return Standing(name, parity, accuracy, p50_ms, p99_ms)


def test_the_most_accurate_wins_however_slow(settings):
    choice = selection.choose([standing("a", 0.95, p50_ms=0.1), standing("b", 0.97, p50_ms=9)], settings)
    assert choice.champion == "b"
    assert "highest validation accuracy, 0.9700" in choice.reason
    assert choice.verdicts == {"a": "less accurate", "b": "champion"}


def test_among_equals_the_fastest_wins(settings):
    standings = [standing("a", 0.985, 3.0), standing("b", 0.9845, 1.0), standing("c", 0.984, 2.0)]
    choice = selection.choose(standings, settings)
    assert choice.champion == "b"
    assert choice.verdicts["a"] == choice.verdicts["c"] == "equal, but slower"
    assert "a, b, c are equal" in choice.reason


def test_equality_is_measured_from_the_best_not_from_neighbour_to_neighbour(settings):
    standings = [standing("a", 0.9900, 3.0), standing("b", 0.9892, 2.0), standing("c", 0.9884, 1.0)]
    assert selection.choose(standings, settings).champion == "b"


def test_a_difference_of_exactly_the_tie_is_equal(settings):
    assert 0.985 - 0.984 > 0.001  # in floating point
    assert selection.choose([standing("a", 0.985, 2.0), standing("b", 0.984, 1.0)], settings).champion == "b"


def test_without_a_tie_only_the_same_accuracy_is_equal(settings):
    settings = settings.model_copy(update={"tie": 0.0})
    assert selection.choose([standing("a", 0.985, 2.0), standing("b", 0.984, 1.0)], settings).champion == "a"
    assert selection.choose([standing("a", 0.985, 2.0), standing("b", 0.985, 1.0)], settings).champion == "b"


def test_the_first_wins_where_nothing_tells_them_apart(settings):
    assert selection.choose([standing("a", 0.95), standing("b", 0.95)], settings).champion == "a"


def test_a_gate_keeps_the_best_out(settings):
    settings = settings.model_copy(update={"maximum_latency_ms": 5.0})
    standings = [standing("broken", 0.99, parity=False), standing("slow", 0.98, p99_ms=5.1), standing("fit", 0.91)]
    choice = selection.choose(standings, settings)
    assert choice.champion == "fit"
    assert choice.verdicts["broken"] == "refused: parity does not hold"
    assert choice.verdicts["slow"] == "refused: p99 latency 5.100 ms > promote.maximum_latency_ms = 5"


def test_an_int8_graph_that_is_not_faster_is_no_candidate(settings):
    slow = Standing("a-int8", True, 0.99, 1.0, 2.0, faster=False)
    choice = selection.choose([slow, standing("a", 0.98)], settings)
    assert choice.champion == "a"
    assert choice.verdicts["a-int8"] == "refused: not faster than in float32 at every batch size"


def test_a_refused_candidate_does_not_set_the_bar_for_a_tie(settings):
    standings = [standing("broken", 0.9905, parity=False), standing("a", 0.99, 2.0), standing("b", 0.9891, 1.0)]
    assert selection.choose(standings, settings).champion == "b"


def test_the_limits_themselves_pass(settings):
    settings = settings.model_copy(update={"maximum_latency_ms": 5.0})
    assert selection.failures(standing("a", 0.9, p99_ms=5.0), settings) == []


def test_no_candidate_passes_names_each_and_every_gate(settings):
    standings = [standing("a", 0.5, parity=False), standing("b", 0.8)]
    with pytest.raises(InputError) as caught:
        selection.choose(standings, settings)
    message = str(caught.value)
    assert "a: parity does not hold, validation accuracy 0.5000 < promote.minimum_accuracy = 0.9" in message
    assert "b: validation accuracy 0.8000 < promote.minimum_accuracy = 0.9" in message
    assert "\n" not in message
