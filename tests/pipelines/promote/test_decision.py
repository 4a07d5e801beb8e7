"""The decision between the selected candidate and the current champion."""

import re
from dataclasses import replace

import pytest

from pipelines.config import params
from pipelines.promote.decision import Comparison, decide
from pipelines.promote.selection import CandidateScore, Rules
from tests.pipelines.workspace import REPOSITORY

CONFIG = params.read(REPOSITORY / "params.yaml").promote


def decision(challenger, champion, p_value=0.001, metric="accuracy", quality=None, p99_ms=0.5, **changes):
    """Between two candidates with these scores."""
    rules = Rules(CONFIG.model_copy(update=changes), metric, "accuracy")
    scores = CandidateScore("new", True, 0.95, challenger, 1.0), CandidateScore("old", True, 0.95, champion, p99_ms)
    scores = scores[0], replace(scores[1], quality=quality if quality is not None else 0.95)
    return decide(Comparison(*scores, "3", p_value, 269), rules)


def test_a_significantly_better_one_replaces_the_champion():
    made = decision(0.97, 0.95, p_value=0.012)
    assert made.replaces
    assert made.reason == (
        "new is better than the champion, version 3: validation accuracy 0.9700 against 0.9500 on the same 269 "
        "examples, p = 0.012"
    )


@pytest.mark.parametrize(
    ("challenger", "options", "reason"),
    [
        (0.93, {}, "new is not better than the champion, version 3: validation accuracy 0.9300 against 0.9500"),
        (0.95, {"p_value": 1.0}, "new is not better than"),
        (0.97, {"p_value": 0.2}, "new is not significantly better.*p = 0.2 > promote.significance = 0.05"),
        (0.97, {"minimum_gain": 0.03}, "new is not sufficiently better.*gain 0.0200 < promote.minimum_gain = 0.03"),
    ],
)
def test_any_other_one_is_rejected_with_the_reason(challenger, options, reason):
    made = decision(challenger, 0.95, **options)
    assert not made.replaces
    assert re.search(reason, made.reason)


def test_a_lower_loss_is_better():
    assert decision(0.1, 0.2, metric="log_loss").replaces
    assert not decision(0.2, 0.1, metric="log_loss").replaces


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        ({"quality": 0.8}, "validation accuracy 0.8000 < promote.minimum_accuracy = 0.9"),
        ({"p99_ms": 2.0, "maximum_latency_ms": 1.5}, "p99 latency 2.000 ms > promote.maximum_latency_ms = 1.5"),
    ],
)
def test_a_champion_that_fails_a_gate_is_replaced_by_one_that_passes(options, failed):
    made = decision(0.92, 0.95, **options)
    assert made.replaces
    assert made.reason == f"the champion, version 3, does not pass the gates: {failed}"
