"""Requests without a body whose answers are expensive, over many connections."""

import pytest

from tests.serving.attacks.delays import MAX_DELAY
from tests.serving.attacks.served import flood
from tests.serving.conftest import Served


@pytest.mark.timeout(120)
def test_expensive_answers_and_many_new_connections(served: Served) -> None:
    requests = ("GET /metrics", "GET /v2/models/stats", "GET /schema.json", "GET /docs.json")
    assert flood(served, *requests) <= MAX_DELAY
