"""The challenger is compared and counted; whatever it does, the champion's answers stay what they are."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.monitoring import shadow
from serving.monitoring.shadow_metrics import ShadowMetrics
from tests.serving.bundles import DIGITS, HOUSES, IRIS, raw, weights, write
from tests.serving.conftest import Local, serve

Make = Callable[..., Local]


@pytest.fixture
def challenger(tmp_path: Path) -> Path:
    """A bundle with other weights."""
    return write(tmp_path / "challenger", weights(DIGITS, 2), "2")


def compare(found: Local, *batches: np.ndarray) -> list[dict[str, Any]]:
    """The answers to these batches at the same time, after one look for a challenger; comparisons are finished."""

    async def go() -> list[dict[str, Any]]:
        assert found.worker.shadow
        await found.worker.shadow.poll()
        transport = httpx.ASGITransport(found.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = [client.post("/predict", json={"inputs": batch.tolist()}) for batch in batches]
            answers = [answer.raise_for_status().json() for answer in await asyncio.gather(*asked)]
        if found.worker.shadow._running:
            await asyncio.wait([found.worker.shadow._running])
            await asyncio.sleep(0)
        return answers

    return asyncio.run(go())


def value(found: Local, name: str, /, **labels: str) -> float:
    return found.worker.metrics.registry.get_sample_value(f"tandem_{name}", labels) or 0.0


def test_agreement_difference_and_time_are_counted(local: Make, digits: Path, challenger: Path) -> None:
    found, images = local(digits, challenger=challenger), raw(DIGITS, 20)
    [answer] = compare(found, images)
    ours, theirs = weights(DIGITS, 2).expected(images), weights(DIGITS).expected(images)
    agreed = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    assert value(found, "shadow_examples_total", top1="agreed") == agreed
    assert value(found, "shadow_examples_total", top1="differed") == 20 - agreed
    difference = np.abs(ours - theirs).max(axis=1).sum()
    assert value(found, "shadow_difference_sum") == pytest.approx(difference, rel=1e-4)
    assert value(found, "shadow_run_seconds_count") == value(found, "shadow_requests_total", result="compared") == 1
    assert value(found, "challenger_info", name="torch-cnn", version="2", provider="CPUExecutionProvider") == 1
    assert answer["model"]["version"] == "1"


def test_a_share_of_none_compares_nothing(local: Make, digits: Path, challenger: Path) -> None:
    found = local(digits, challenger=challenger, shadow_share=0.0)
    compare(found, raw(DIGITS, 1))
    assert value(found, "shadow_requests_total", result="compared") == 0


def test_what_comes_while_one_is_compared_is_passed_over(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, real = threading.Event(), shadow._compare
    monkeypatch.setattr(shadow, "_compare", lambda *given: (go.wait(10), real(*given))[1])
    found = local(digits, challenger=challenger)
    threading.Timer(0.5, go.set).start()
    answers = compare(found, raw(DIGITS, 1), raw(DIGITS, 1), raw(DIGITS, 1))
    assert len(answers) == 3
    assert value(found, "shadow_requests_total", result="busy") == 2
    assert value(found, "shadow_requests_total", result="compared") == 1


def test_a_challenger_that_reads_something_else_is_never_asked(local: Make, digits: Path, tmp_path: Path) -> None:
    found = local(digits, challenger=write(tmp_path / "challenger", weights(IRIS)))
    compare(found, raw(DIGITS, 1))
    assert value(found, "shadow_requests_total", result="incompatible") == 1


def test_one_that_fails_is_counted_and_nothing_else(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(shadow, "_compare", fail)
    found = local(digits, challenger=challenger)
    assert compare(found, raw(DIGITS, 1))[0]["predictions"]
    assert value(found, "shadow_requests_total", result="failed") == 1


def test_a_missing_or_bad_challenger_harms_nobody_and_a_good_one_is_found_later(
    local: Make, digits: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "challenger"
    found = local(digits, challenger=folder)
    compare(found, raw(DIGITS, 1))
    folder.mkdir()
    (folder / "champion.json").write_text("garbage")
    compare(found, raw(DIGITS, 1))
    compare(found, raw(DIGITS, 1))
    assert value(found, "challengers_total", result="refused") == 1
    write(folder, weights(DIGITS, 2), "2")
    compare(found, raw(DIGITS, 1))
    write(folder, weights(DIGITS, 3), "3")
    compare(found, raw(DIGITS, 1))
    assert found.worker.shadow
    assert found.worker.shadow.challenger
    assert found.worker.shadow.challenger.version == "3"
    assert value(found, "challengers_total", result="swapped") == 1
    assert value(found, "shadow_requests_total", result="compared") == 2


def test_served_with_both_the_answers_are_the_champion_s(digits: Path, challenger: Path, tmp_path: Path) -> None:
    images = raw(DIGITS, 4)
    with serve(
        digits,
        tmp_path / "home",
        TANDEM_WORKERS="1",
        TANDEM_CHALLENGER=str(challenger),
        TANDEM_PREDICTION_LOG=str(tmp_path / "log"),
        TANDEM_POLL_SECONDS="0.1",
    ) as served:
        for _ in range(50):
            answer = httpx.post(f"{served.url}/predict", json={"inputs": images.tolist()}).json()
            told = [list(each["probabilities"].values()) for each in answer["predictions"]]
            np.testing.assert_allclose(told, weights(DIGITS).expected(images), atol=1e-6)
        text = httpx.get(f"{served.url}/metrics").text
    assert 'tandem_shadow_requests_total{result="compared"}' in text
    assert "tandem_challenger_info{" in text


def test_other_categories_are_not_compared(local: Make, tmp_path: Path) -> None:
    """The same number is another category there."""
    other = replace(HOUSES, categories=((), ("amber", "blue", "red"), HOUSES.categories[2]))
    assert other.categories != HOUSES.categories
    champion, challenger = write(tmp_path / "champion", weights(HOUSES)), write(tmp_path / "other", weights(other))
    found = local(champion, challenger=challenger)
    compare(found, np.array([[1, 0, 1]], np.float32))
    assert value(found, "shadow_requests_total", result="incompatible") == 1


def test_a_challenger_that_finds_no_number_does_not_spoil_the_sums() -> None:
    metrics = ShadowMetrics(registry := CollectorRegistry())
    metrics.record_comparison(np.array([[0.5, np.nan]]), np.array([[0.5, 0.5]]), 0.1)
    metrics.record_comparison(np.array([[0.25, 0.75]]), np.array([[0.5, 0.5]]), 0.1)
    assert registry.get_sample_value("tandem_shadow_difference_sum") == 0.25
    results = {
        result: registry.get_sample_value("tandem_shadow_requests_total", {"result": result})
        for result in ("failed", "compared")
    }
    assert results == {"failed": 1, "compared": 1}
