"""The limits of a canary release, and the window in which they are checked."""

import numpy as np
import pytest

from serving.canary.window import Sums, Window
from serving.monitoring.shadow import differing
from serving.settings import Settings
from tests.serving.bundles import DIGITS, HOUSES


def window(**changes: float) -> Window:
    settings = {"canary_window": 10, "canary_min_requests": 4, "canary_max_delay_seconds": 0.05} | changes
    return Window(Settings.model_validate(settings))


def reason(of: Window) -> str | None:
    violation = of.violation()
    return violation[0] if violation else None


def test_the_latest_pairs_count() -> None:
    sums = Sums(2)
    assert sums.mean == 0
    for amount, weight in [(100, 1), (1, 4), (2, 2)]:
        sums.add(amount, weight)
    assert (len(sums), sums.mean) == (2, 0.5)


@pytest.mark.parametrize(("failed", "expected"), [([1, 1, 1], None), ([0, 0, 1, 0], "errors"), ([0] * 4, None)])
def test_errors(failed: list[int], expected: str | None) -> None:
    checked = window()
    for each in failed:
        checked.errors.add(each)
    assert reason(checked) == expected


def test_errors_that_left_the_window_do_not_count() -> None:
    checked = window()
    for each in [1, 1, 1] + [0] * 10:
        checked.errors.add(each)
    assert reason(checked) is None


@pytest.mark.parametrize(("seconds", "expected"), [(0.14, None), (0.16, "latency")])
def test_the_delay_is_relative_to_the_champion(seconds: float, expected: str | None) -> None:
    checked = window()
    for _ in range(4):
        checked.seconds.add(seconds)
    assert reason(checked) is None  # no request of the champion yet
    for _ in range(4):
        checked.champion_seconds.add(0.1)
    assert reason(checked) == expected


def test_disagreement_is_a_share_of_the_examples() -> None:
    checked = window(canary_max_disagreement=0.1)
    for _ in range(3):
        checked.differing.add(2, 10)
    assert reason(checked) is None
    checked.differing.add(0, 100)
    assert reason(checked) is None
    checked.differing.add(20, 20)
    assert reason(checked) == "disagreement"


def test_differing_predictions() -> None:
    first = np.float32([[0.9, 0.1], [0.2, 0.8], [np.nan, 1]])
    second = np.float32([[0.6, 0.4], [0.7, 0.3], [0, 1]])
    assert differing(first, second, DIGITS) == 2
    prices, others = np.float32([[1000], [1000], [np.nan]]), np.float32([[1024], [1026], [1000]])
    assert differing(prices, others, HOUSES) == 2  # more than a tenth of the standard deviation, 250
