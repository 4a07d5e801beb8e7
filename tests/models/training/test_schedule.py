"""The learning rate: against torch's own schedules and by hand."""

import pytest
import torch

from models.config import Schedule
from models.training.schedule import learning_rate

TOTAL, PEAK = 200, 0.1


def rates(name: str, warmup: float) -> list[float]:
    schedule = Schedule(name=name, warmup=warmup)  # type: ignore[arg-type]
    return [learning_rate(step, TOTAL, PEAK, schedule) for step in range(TOTAL)]


def test_one_cycle_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], PEAK)
    # torch counts its warm-up from the step before.
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK, total_steps=TOTAL, pct_start=(0.25 * TOTAL + 1) / TOTAL
    )
    expected = []
    for _ in range(TOTAL):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < TOTAL:
            cycle.step()
    assert rates("one_cycle", 0.25) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_cosine_rises_to_the_peak_and_falls_to_nothing() -> None:
    found = rates("cosine", 0.1)
    assert found[0] == pytest.approx(PEAK / 20)
    assert max(found) == found[19] == found[20] == PEAK
    assert found[110] == pytest.approx(PEAK / 2)
    assert 0 < found[-1] < PEAK / 1000


def test_constant_is_constant() -> None:
    assert set(rates("constant", 0.5)) == {PEAK}


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_a_training_of_a_few_steps_has_rates_too(name: str, total: int) -> None:
    for warmup in (0.0, 0.5, 0.99):
        schedule = Schedule(name=name, warmup=warmup)  # type: ignore[arg-type]
        assert all(0 < learning_rate(step, total, PEAK, schedule) <= PEAK for step in range(total))
