"""The bound of all unread responses of a worker."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from serving.connections.server import _limit_unsent


@dataclass
class Connected:
    """A connection with so many unread bytes."""

    unsent: int
    reasons: list[str] = field(default_factory=list)

    def disconnect(self, reason: str) -> None:
        self.reasons.append(reason)


@pytest.mark.parametrize(
    ("sizes", "closed"),
    [([], []), ([40, 0, 60], []), ([10, 50, 41], [50]), ([60, 30, 70, 5], [70]), ([60, 60, 60], [60, 60])],
)
def test_the_largest_unread_responses_are_given_up(sizes: list[int], closed: list[int]) -> None:
    connections = [Connected(size) for size in sizes]
    _limit_unsent(cast(Any, connections), 100)
    assert [each.unsent for each in connections if each.reasons] == closed
    assert all(each.reasons in ([], ["unread"]) for each in connections)
