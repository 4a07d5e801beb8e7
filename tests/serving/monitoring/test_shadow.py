"""Shadow deployment: comparison with the challenger, and no effect on responses."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.inference import champion, retry
from serving.monitoring import shadow
from serving.monitoring.observation import Observation
from serving.monitoring.shadow_metrics import ShadowMetrics
from tests.serving.bundles import DIGITS, HOUSES, IRIS, raw, weights, write
from tests.serving.conftest import Local, wait_for

Make = Callable[..., Local]


@pytest.fixture
def challenger(tmp_path: Path) -> Path:
    """A bundle with other weights."""
    return write(tmp_path / "challenger", weights(DIGITS, 2), "2")


def compare(service: Local, *batches: np.ndarray) -> list[dict[str, Any]]:
    """Responses to these batches, sent at the same time after one check for a challenger; waits for comparisons."""

    async def go() -> list[dict[str, Any]]:
        assert service.worker.shadow
        await service.worker.shadow.poll()
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            requests = [client.post("/predict", json={"inputs": batch.tolist()}) for batch in batches]
            answers = [answer.raise_for_status().json() for answer in await asyncio.gather(*requests)]
        if service.worker.shadow._running:
            await asyncio.wait([service.worker.shadow._running])
            await asyncio.sleep(0)
        return answers

    return asyncio.run(go())


def value(service: Local, name: str, /, **labels: str) -> float:
    return service.worker.metrics.registry.get_sample_value(f"tandem_{name}", labels) or 0.0


def test_agreement_difference_and_time_are_counted(local: Make, digits: Path, challenger: Path) -> None:
    service, images = local(digits, challenger=challenger), raw(DIGITS, 20)
    [answer] = compare(service, images)
    second, first = weights(DIGITS, 2).expected(images), weights(DIGITS).expected(images)
    agreed = int((second.argmax(axis=1) == first.argmax(axis=1)).sum())
    assert value(service, "shadow_examples_total", top1="agreed") == agreed
    assert value(service, "shadow_examples_total", top1="differed") == 20 - agreed
    difference = np.abs(second - first).max(axis=1).sum()
    assert value(service, "shadow_difference_sum") == pytest.approx(difference, rel=1e-4)
    assert value(service, "shadow_run_seconds_count") == value(service, "shadow_requests_total", result="compared") == 1
    assert value(service, "challenger_info", name="torch-cnn", version="2", provider="CPUExecutionProvider") == 1
    assert answer["model"]["version"] == "1"


def test_with_a_share_of_zero_nothing_is_compared(local: Make, digits: Path, challenger: Path) -> None:
    service = local(digits, challenger=challenger, shadow_share=0.0)
    compare(service, raw(DIGITS, 1))
    assert value(service, "shadow_requests_total", result="compared") == 0


def test_requests_during_a_comparison_are_skipped(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, real = local(digits, challenger=challenger), shadow._compare

    def compare_later(*given: Any) -> Any:
        """Once the others were skipped."""
        wait_for(lambda: value(service, "shadow_requests_total", result="busy") == 2)
        return real(*given)

    monkeypatch.setattr(shadow, "_compare", compare_later)
    answers = compare(service, raw(DIGITS, 1), raw(DIGITS, 1), raw(DIGITS, 1))
    assert len(answers) == 3
    assert value(service, "shadow_requests_total", result="busy") == 2
    assert value(service, "shadow_requests_total", result="compared") == 1


def test_a_challenger_with_other_inputs_is_not_run(local: Make, digits: Path, tmp_path: Path) -> None:
    service = local(digits, challenger=write(tmp_path / "challenger", weights(IRIS)))
    compare(service, raw(DIGITS, 1))
    assert value(service, "shadow_requests_total", result="incompatible") == 1


@pytest.mark.parametrize("is_canary", [False, True])
def test_answers_of_a_model_that_was_replaced_are_not_compared(
    local: Make, digits: Path, challenger: Path, is_canary: bool
) -> None:
    """They would count for the new challenger, or against it."""
    service, images = local(digits, challenger=challenger), raw(DIGITS, 5)
    compare(service)
    replaced = service.worker.shadow.challenger if is_canary else service.worker.champion
    write(challenger if is_canary else digits, weights(DIGITS, 3), "3")
    asyncio.run(service.worker.reloader.poll())
    compare(service)

    async def observe() -> None:
        service.worker.observe(b"", Observation(replaced, images, replaced.predictor.predict(images)))

    asyncio.run(observe())
    assert service.worker.shadow._running is None
    assert value(service, "shadow_requests_total", result="incompatible") == 1


def test_a_failing_challenger_is_counted_and_does_not_affect_responses(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(shadow, "_compare", fail)
    service = local(digits, challenger=challenger)
    for _ in range(3):
        assert compare(service, raw(DIGITS, 1))[0]["predictions"]
    assert value(service, "shadow_requests_total", result="failed") == 3
    assert caplog.text.count("comparison with the challenger failed: broken") == 1  # requests do not fill the log


def test_a_valid_challenger_is_loaded_after_a_missing_or_invalid_one(local: Make, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "challenger"
    service = local(digits, challenger=folder)
    compare(service, raw(DIGITS, 1))
    folder.mkdir()
    (folder / "champion.json").write_text("garbage")
    compare(service, raw(DIGITS, 1))
    compare(service, raw(DIGITS, 1))
    assert value(service, "challengers_total", result="refused") == 1
    write(folder, weights(DIGITS, 2), "2")
    compare(service, raw(DIGITS, 1))
    write(folder, weights(DIGITS, 3), "3")
    compare(service, raw(DIGITS, 1))
    assert service.worker.shadow
    assert service.worker.shadow.challenger
    assert service.worker.shadow.challenger.version == "3"
    assert value(service, "challengers_total", result="swapped") == 1
    assert value(service, "shadow_requests_total", result="compared") == 2


def test_a_challenger_that_could_not_be_loaded_is_tried_again(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.0)
    service, load = local(digits, challenger=challenger), champion.load
    errors = [OSError("stale file handle")] * 2

    def failing(*given: Any) -> champion.Champion:
        if errors:
            raise errors.pop()
        return load(*given)

    monkeypatch.setattr(champion, "load", failing)
    for _ in range(3):
        compare(service, raw(DIGITS, 1))
    assert value(service, "challenger_info", name="torch-cnn", version="2", provider="CPUExecutionProvider") == 1
    assert value(service, "challengers_total", result="refused") == 1


def test_other_categories_are_not_compared(local: Make, tmp_path: Path) -> None:
    """The same index means another category."""
    other = replace(HOUSES, categories=((), ("amber", "blue", "red"), HOUSES.categories[2]))
    assert other.categories != HOUSES.categories
    champion, challenger = write(tmp_path / "champion", weights(HOUSES)), write(tmp_path / "other", weights(other))
    service = local(champion, challenger=challenger)
    compare(service, np.array([[1, 0, 1]], np.float32))
    assert value(service, "shadow_requests_total", result="incompatible") == 1


def test_outputs_that_are_not_finite_do_not_affect_the_sums() -> None:
    metrics = ShadowMetrics(registry := CollectorRegistry())
    metrics.record_comparison(np.array([[0.5, np.nan]]), np.array([[0.5, 0.5]]), 0.1)
    metrics.record_comparison(np.array([[0.25, 0.75]]), np.array([[0.5, 0.5]]), 0.1)
    assert registry.get_sample_value("tandem_shadow_difference_sum") == 0.25
    results = {
        result: registry.get_sample_value("tandem_shadow_requests_total", {"result": result})
        for result in ("failed", "compared")
    }
    assert results == {"failed": 1, "compared": 1}
