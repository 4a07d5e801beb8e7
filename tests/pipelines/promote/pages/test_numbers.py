"""Numbers as text."""

import pytest

from pipelines.promote.pages import numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.26, "0.3 s"), (59.6, "59.6 s"), (59.97, "1 min 00 s"), (119.7, "2 min 00 s"), (754.0, "12 min 34 s")],
)
def test_seconds_are_rounded_before_they_are_divided_into_minutes(seconds, text):
    assert numbers.seconds(seconds) == text
