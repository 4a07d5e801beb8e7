import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from models.metrics import latency


def test_percentiles_and_throughput_of_known_times():
    times = np.arange(1, 101) / 1000  # 1 to 100 ms, 5.05 s together
    result = latency.summarise(times, batch_size=32)
    assert result.p50_ms == pytest.approx(50.5)
    assert result.p90_ms == pytest.approx(90.1)
    assert result.p99_ms == pytest.approx(99.01)
    assert result.examples_per_second == round(3200 / 5.05)


@pytest.mark.parametrize(("calls", "known"), [(latency.MIN_TAIL_CALLS - 1, False), (latency.MIN_TAIL_CALLS, True)])
def test_the_99th_percentile_needs_a_hundred_calls(calls, known):
    result = latency.summarise(np.linspace(0.001, 0.002, calls), batch_size=1)
    assert result.calls == calls
    assert (result.p99_ms is not None) is known


def test_as_many_calls_are_made_as_are_required():
    (result,) = latency.time_calls([lambda: time.sleep(0.0001)], 1, seconds=0.001, minimum=latency.MIN_TAIL_CALLS)
    assert result.calls >= latency.MIN_TAIL_CALLS
    assert result.p99_ms is not None


def test_calls_are_made_for_the_time_that_was_given(monkeypatch):
    now = 0.0

    def call():
        nonlocal now
        now += 0.001

    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: now))
    (result,) = latency.time_calls([call], batch_size=1, seconds=0.2)
    assert now == pytest.approx(0.2, abs=0.003)
    assert result.calls == pytest.approx(160, abs=3)  # after the warm-up


def test_a_call_slower_than_the_time_given_is_measured_all_the_same():
    (result,) = latency.time_calls([lambda: time.sleep(0.01)], batch_size=4, seconds=0.001)
    assert result.p50_ms >= 10
    assert 0 < result.examples_per_second <= 400


def test_several_calls_take_turns_and_each_gets_its_own_times(monkeypatch):
    now, order = 0.0, []

    def call(name, seconds):
        nonlocal now
        now += seconds
        order.append(name)

    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: now))
    calls = [partial(call, "slow", 0.004), partial(call, "fast", 0.001)]
    slow, fast = latency.time_calls(calls, batch_size=1, seconds=0.05)
    assert order == ["slow", "fast"] * (len(order) // 2)
    assert (slow.p50_ms, fast.p50_ms) == pytest.approx((4, 1))
