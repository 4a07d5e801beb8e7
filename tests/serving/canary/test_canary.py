"""Canary releases: which model answers, rollbacks without a failed request, and their state."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.errors import InputError
from models.manifest import ROLLED_BACK
from serving.canary import rollback
from serving.http.messages import Request
from serving.inference import bundle, champion
from serving.inference.champion import Champion
from serving.process import preflight
from serving.settings import Settings
from tests.serving.bundles import DIGITS, IRIS, PRICES, raw, weights, write
from tests.serving.conftest import PATIENCE, Local, make_local, serve

ACTIVE, WAITING, ROLLED_BACK_STATE = (
    f'tandem_canary_state{{state="{state}"}} 1.0' for state in ("active", "waiting", "rolled_back")
)
Make = Callable[..., Local]
Ask = Callable[..., list[httpx.Response]]
IMAGES = raw(DIGITS, 3)
BODY = {"inputs": IMAGES.tolist()}


# No time of a challenger rolls it back, however busy the machine is, unless a test limits it.
PATIENT = {"canary_timeout_seconds": PATIENCE, "canary_max_delay_seconds": PATIENCE}


@pytest.fixture
def local() -> Make:
    """Makes a Local for a champion's folder and settings."""
    return lambda folder, **changes: make_local(folder, **(PATIENT | changes))


@pytest.fixture
def challenger(tmp_path: Path) -> Path:
    """A bundle with other weights."""
    return write(tmp_path / "challenger", weights(DIGITS, 2), "2")


def ask(service: Local, count: int, path: str = "/predict", body: Any = BODY, **headers: str) -> list[httpx.Response]:
    """Responses to so many requests, eight at a time, after one check for a challenger and a rollback."""

    async def go() -> list[httpx.Response]:
        assert service.worker.shadow
        assert service.worker.canary
        await service.worker.shadow.poll()
        await service.worker.canary.poll()
        transport = httpx.ASGITransport(service.application)
        responses = []
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for start in range(0, count, 8):
                requests = (client.post(path, json=body, headers=headers) for _ in range(min(8, count - start)))
                responses += await asyncio.gather(*requests)
                if service.worker.shadow._running:
                    await asyncio.wait([service.worker.shadow._running])
        return responses

    return asyncio.run(go())


def at_once(service: Local, count: int) -> list[httpx.Response]:
    """The responses to requests at the same time."""

    async def go() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.post("/predict", json=BODY) for _ in range(count)))

    return asyncio.run(go())


def value(service: Local, name: str, /, **labels: str) -> float:
    return service.worker.metrics.registry.get_sample_value(f"tandem_canary_{name}", labels) or 0.0


def state(service: Local) -> Any:
    return service.get("/model").json()["canary"]["state"]


def versions(responses: list[httpx.Response]) -> list[str]:
    """The versions that answered, all with 200 and the outputs of that version."""
    found = []
    for response in responses:
        assert response.status_code == 200, response.text
        version = response.json()["model"]["version"]
        outputs = [list(each["probabilities"].values()) for each in response.json()["predictions"]]
        seed = {"1": 0, "2": 2}[version]
        np.testing.assert_allclose(outputs, weights(DIGITS, seed).expected(IMAGES), atol=1e-6)
        assert response.headers["x-model-version"] == version
        found.append(version)
    return found


def break_challenger(service: Local, predict: Callable[[np.ndarray], np.ndarray]) -> None:
    """Load the challenger, and let it predict in another way."""
    assert service.worker.shadow
    asyncio.run(service.worker.shadow.poll())
    assert service.worker.shadow.challenger
    service.worker.shadow.challenger.predictor.predict = predict  # type: ignore[method-assign]


def test_a_share_of_the_requests_is_answered_by_the_challenger(local: Make, digits: Path, challenger: Path) -> None:
    service = local(digits, challenger=challenger, canary_share=0.25, canary_max_disagreement=1.0)
    answers = versions(ask(service, 400))
    assert 60 < answers.count("2") < 140
    assert value(service, "requests_total", result="answered") == answers.count("2")
    assert value(service, "state", state="active") == 1
    assert service.get("/model").json()["canary"] == {"state": "active", "share": 0.25, "version": "2"}
    service.worker.metrics.flush()
    assert service.worker.metrics.registry.get_sample_value(
        "tandem_model_requests_total", {"version": "2"}
    ) == answers.count("2")


def test_a_request_id_or_a_header_decides(local: Make, digits: Path, challenger: Path) -> None:
    service = local(digits, challenger=challenger, canary_share=0.5, canary_max_disagreement=1.0)
    by_id = {number: set(versions(ask(service, 3, **{"x-request-id": f"user-{number}"}))) for number in range(12)}
    assert all(len(answers) == 1 for answers in by_id.values())
    assert {"1"} in by_id.values()
    assert {"2"} in by_id.values()
    assert set(versions(ask(service, 16, **{"x-canary": "always"}))) == {"2"}
    assert set(versions(ask(service, 16, **{"x-canary": "never"}))) == {"1"}


def test_a_request_for_the_champions_version_is_answered_by_it(local: Make, digits: Path, challenger: Path) -> None:
    service = local(digits, challenger=challenger, canary_share=1.0, canary_max_disagreement=1.0)
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(IMAGES.shape), "data": IMAGES.ravel().tolist()}
    for path, version in [("/v2/models/tandem/infer", "2"), ("/v2/models/tandem/versions/1/infer", "1")]:
        (response,) = ask(service, 1, path, {"inputs": [tensor]})
        assert response.json()["model_version"] == version


def fail(_: np.ndarray) -> np.ndarray:
    raise RuntimeError("broken")


def not_finite(inputs: np.ndarray) -> np.ndarray:
    return np.full((len(inputs), 10), np.nan, np.float32)


def hang(inputs: np.ndarray) -> np.ndarray:
    time.sleep(0.3)
    return fail(inputs)


def slow(inputs: np.ndarray) -> np.ndarray:
    time.sleep(0.1)
    return weights(DIGITS, 2).expected(inputs)


@pytest.mark.parametrize(
    ("predict", "changes", "reason"),
    [
        (fail, {}, "errors"),
        (not_finite, {}, "errors"),
        (hang, {"canary_timeout_seconds": 0.05}, "errors"),
        (slow, {"canary_max_delay_seconds": 0.01, "canary_max_disagreement": 1.0}, "latency"),
        (weights(DIGITS, 2).expected, {}, "disagreement"),
    ],
)
def test_a_failing_challenger_is_rolled_back_without_a_failed_request(
    local: Make,
    digits: Path,
    challenger: Path,
    predict: Callable[[np.ndarray], np.ndarray],
    changes: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = {"canary_min_requests": 10, "shadow_share": float(reason == "disagreement")} | changes
    service = local(digits, challenger=challenger, canary_share=0.5, **limits)
    break_challenger(service, predict)
    answers = versions(ask(service, 160))
    assert set(answers[-40:]) == {"1"}
    assert value(service, "rollbacks_total", reason=reason) == 1
    assert value(service, "state", state="rolled_back") == 1
    assert value(service, "state", state="active") == 0
    assert state(service) == "rolled_back"
    assert re.search("canary: challenger torch-cnn 2 rolled back: .* allowed: ", caplog.text)
    assert json.loads((challenger / ROLLED_BACK).read_text())["reason"].startswith(reason)
    assert set(versions(ask(service, 16, **{"x-canary": "always"}))) == {"1"}
    assert service.worker.load.in_flight == 0


def test_a_rolled_back_challenger_returns_after_a_replacement_or_a_reset(
    local: Make, digits: Path, challenger: Path
) -> None:
    changes = {"challenger": challenger, "canary_share": 1.0, "canary_min_requests": 4, "shadow_share": 0.0}
    first, second = local(digits, **changes), local(digits, **changes)
    assert set(versions(ask(second, 8))) == {"2"}
    break_challenger(first, fail)
    assert set(versions(ask(first, 16))) == {"1"}
    assert set(versions(ask(second, 8))) == {"1"}  # another worker
    assert set(versions(ask(local(digits, **changes), 8))) == {"1"}  # a restart
    (challenger / ROLLED_BACK).unlink()
    assert set(versions(ask(second, 8))) == {"2"}
    (challenger / ROLLED_BACK).write_text("{")
    assert set(versions(ask(second, 8))) == {"1"}
    (challenger / ROLLED_BACK).write_text('{"sha256": "that of an earlier one"}')
    assert set(versions(ask(second, 8))) == {"2"}
    break_challenger(first, fail)
    ask(first, 16)
    write(challenger, weights(DIGITS, 3), "3")
    assert {response.json()["model"]["version"] for response in ask(second, 8)} == {"3"}


def test_a_rollback_that_cannot_be_recorded_lasts_in_its_worker(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("serving.canary.rollback.write", full)
    service = local(digits, challenger=challenger, canary_share=1.0, canary_min_requests=4, shadow_share=0.0)
    break_challenger(service, fail)
    for _ in range(3):
        assert set(versions(ask(service, 8))) == {"1"}
    assert state(service) == "rolled_back"
    assert value(service, "rollbacks_total", reason="errors") == 1
    assert "not known to other workers: no space left" in caplog.text


def count_down(calls: int, then: Callable[[], None]) -> Callable[..., None]:
    """A function that calls `then` at its last of so many calls."""
    left = iter(range(calls - 1, -1, -1))
    return lambda *_: None if next(left) else then()


def test_requests_beyond_those_that_wait_are_answered_by_the_champion(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.canary.canary.MAX_WAITING", 2)
    service = local(digits, challenger=challenger, canary_share=1.0, shadow_share=0.0)
    go = threading.Event()
    expected = weights(DIGITS, 2).expected

    def predict(inputs: np.ndarray) -> np.ndarray:
        """Two requests wait until the others are answered by the champion."""
        assert go.wait(PATIENCE)
        return expected(inputs)

    break_challenger(service, predict)
    monkeypatch.setattr(service.worker.canary, "champion_answered", count_down(6, go.set))
    assert sorted(versions(ask(service, 8))) == ["1"] * 6 + ["2"] * 2


def test_requests_for_which_the_client_chooses_the_model_do_not_count(
    local: Make, digits: Path, challenger: Path
) -> None:
    limits = {"canary_min_requests": 4, "shadow_share": 0.0, "canary_max_delay_seconds": 0.0}
    service = local(digits, challenger=challenger, canary_share=1.0, **limits)
    break_challenger(service, fail)
    for choice in ("always", "never"):
        assert set(versions(ask(service, 16, **{"x-canary": choice}))) == {"1"}
    assert value(service, "requests_total", result="failed") == 16
    assert state(service) == "active"
    ask(service, 8)
    assert state(service) == "rolled_back"


def test_requests_of_more_than_one_run_are_answered_by_the_champion(
    local: Make, digits: Path, challenger: Path
) -> None:
    limits = {"canary_min_requests": 1, "shadow_share": 0.0, "canary_max_delay_seconds": 0.0}
    service = local(digits, challenger=challenger, canary_share=1.0, run_rows=2, **limits)
    assert set(versions(ask(service, 8))) == {"1"}
    assert set(versions(ask(service, 8, **{"x-canary": "always"}))) == {"1"}
    assert value(service, "requests_total", result="answered") == 0
    assert state(service) == "active"


def test_a_queue_for_the_challenger_ends_before_its_time_limit(local: Make, digits: Path, challenger: Path) -> None:
    """Otherwise more requests than either model can answer in time would roll back a good challenger."""
    limits = {"canary_timeout_seconds": 8.0, "canary_min_requests": 8}
    service = local(digits, challenger=challenger, canary_share=1.0, run_rows=3, shadow_share=0.0, **limits)

    def predict(inputs: np.ndarray) -> np.ndarray:
        time.sleep(0.6)
        return weights(DIGITS, 2).expected(inputs)

    break_challenger(service, predict)
    assert versions(ask(service, 1)) == ["2"]
    answers = versions(at_once(service, 20))
    assert 1 <= answers.count("2") <= 10
    assert value(service, "requests_total", result="timeout") == 0
    assert state(service) == "active"


def test_inputs_that_no_model_can_answer_do_not_count(local: Make, tmp_path: Path) -> None:
    steep = np.full((4, 1), 10, np.float32)
    folders = []
    for seed in (0, 2):
        model = weights(PRICES, seed)
        object.__setattr__(model, "kernel", steep)
        example = {"inputs": [[0.0] * 4], "outputs": model.expected(np.zeros((1, 4), np.float32)).tolist()}
        folders.append(write(tmp_path / str(seed), model, str(seed), example=example))
    service = local(folders[0], challenger=folders[1], canary_share=1.0, canary_min_requests=4)
    responses = ask(service, 16, body={"inputs": [[3e38] * 4]})
    assert {response.status_code for response in responses} == {422}
    assert state(service) == "active"


def test_a_challenger_with_other_inputs_answers_nothing(local: Make, digits: Path, tmp_path: Path) -> None:
    service = local(digits, challenger=write(tmp_path / "challenger", weights(IRIS), "2"), canary_share=1.0)
    assert set(versions(ask(service, 8))) == {"1"}
    assert state(service) == "incompatible"
    (tmp_path / "empty").mkdir()
    service = local(digits, challenger=tmp_path / "empty", canary_share=1.0)
    assert set(versions(ask(service, 8))) == {"1"}
    assert state(service) == "waiting"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenger": None}, "TANDEM_CANARY_SHARE: 0.5: needs TANDEM_CHALLENGER"),
        ({"canary_timeout_seconds": 10.0}, "TANDEM_CANARY_TIMEOUT_SECONDS: 10.0: .* less than TANDEM_TIMEOUT_SECONDS"),
        ({"canary_window": 10}, "TANDEM_CANARY_WINDOW: 10: never checked; allowed: TANDEM_CANARY_MIN_REQUESTS, 50"),
    ],
)
def test_settings_that_do_not_agree(digits: Path, challenger: Path, changes: dict[str, Any], message: str) -> None:
    given = {"champion": digits, "challenger": challenger, "canary_share": 0.5} | changes
    with pytest.raises(InputError, match=message):
        preflight.check(Settings.model_validate(given))


def test_all_workers_roll_back_under_load(tmp_path: Path, digits: Path, challenger: Path) -> None:
    """First a challenger with other labels, then one that fails for one of eight requests and agrees for the others."""
    changes = {"SHARE": "0.5", "MIN_REQUESTS": "20", "MAX_DISAGREEMENT": "0.5"}
    changes |= {"TIMEOUT_SECONDS": "9", "MAX_DELAY_SECONDS": "9"}
    variables = {f"TANDEM_CANARY_{name}": value for name, value in changes.items()}
    variables |= {"TANDEM_CHALLENGER": str(challenger), "TANDEM_WORKERS": "2", "TANDEM_POLL_SECONDS": "0.1"}
    with serve(digits, tmp_path / "home", **variables) as served:
        answers = versions(asyncio.run(post_until_rolled_back(served.url, [BODY] * 8)))
        assert "2" in answers
        assert set(answers[-40:]) == {"1"}
        assert re.search(r'canary_rollbacks_total\{reason="disagreement"\} [12]\.0', metrics(served.url))
        write_failing(challenger)
        deadline = time.monotonic() + PATIENCE
        while ACTIVE not in metrics(served.url) and time.monotonic() < deadline:
            httpx.post(f"{served.url}/predict", json=BODY)  # a worker sees new models when it selects one
        bodies = [{"inputs": images.tolist()} for images in (FAILING, *[GOOD] * 7)]
        responses = asyncio.run(post_until_rolled_back(served.url, bodies))
        for number, response in enumerate(responses):
            assert response.status_code == 200, response.text
            rows = [list(each["probabilities"].values()) for each in response.json()["predictions"]]
            images = GOOD if number % 8 else FAILING
            np.testing.assert_allclose(rows, weights(DIGITS).expected(images), atol=1e-6)
        answers = [response.json()["model"]["version"] for response in responses]
        assert {"1", "3"} == set(answers)
        assert set(answers[::8]) == set(answers[-40:]) == {"1"}
        text = metrics(served.url)
        assert re.search(r'tandem_canary_rollbacks_total\{reason="errors"\} [12]\.0', text)
        assert ROLLED_BACK_STATE in text
        assert 'tandem_shadow_requests_total{result="compared"}' in text
        assert "tandem_challenger_info{" in text
        assert ACTIVE not in text
        assert "canary: challenger torch-cnn 3 rolled back: " in served.output.read_text()


GOOD, FAILING = IMAGES.copy(), IMAGES.copy()
GOOD[:, 0, :2], FAILING[:, 0, :2] = 0, 255


def write_failing(folder: Path) -> None:
    """A bundle as the champion's, with weights of the first two pixels whose sum is no float32."""
    kernel = weights(DIGITS).kernel.copy()
    kernel[:2] = 3e38
    example = {"inputs": GOOD.tolist(), "outputs": weights(DIGITS).expected(GOOD).tolist()}
    with np.errstate(over="ignore", invalid="ignore"):
        write(folder, replace(weights(DIGITS), kernel=kernel), "3", example=example)


async def post_until_rolled_back(url: str, bodies: list[Any]) -> list[httpx.Response]:
    """The responses to these bodies at once, until no worker has an active challenger; the last forty are from then."""
    async with httpx.AsyncClient(base_url=url) as client:
        responses: list[httpx.Response] = []
        before = 0
        deadline = time.monotonic() + 5 * PATIENCE
        while len(responses) < before + 48 and time.monotonic() < deadline:
            responses += await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))
            await asyncio.sleep(0.3)  # so that the last forty take longer than metrics are kept
            text = (await client.get("/metrics")).text
            if ACTIVE in text or WAITING in text or ROLLED_BACK_STATE not in text:
                before = len(responses)
        return responses


def metrics(url: str) -> str:
    return httpx.get(f"{url}/metrics").text


def test_requests_that_began_before_a_new_champion_do_not_undo_a_rollback(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were validated against the former champion, and hold it until they are answered."""
    monkeypatch.setattr("serving.canary.rollback.is_rolled_back", lambda *_: False)  # it could not be recorded
    service = local(digits, challenger=challenger, canary_share=1.0, canary_min_requests=4, shadow_share=0.0)
    break_challenger(service, fail)
    canary, reloader, former = service.worker.canary, service.worker.reloader, service.worker.champion
    assert canary
    reloader.champion = replace(former)
    assert set(versions(ask(service, 8))) == {"1"}
    canary._is_recorded = False
    request = Request({"method": "POST", "path": "/predict", "headers": []}, None, 0)  # type: ignore[arg-type]
    assert canary.select(former, request, 3) is None
    assert canary.select(reloader.champion, request, 3) is None
    assert canary.state == "rolled_back"


def test_workers_record_a_rollback_at_the_same_moment(digits: Path, challenger: Path) -> None:
    model = champion.load(challenger, "cpu")
    before = bundle.fingerprint(challenger)
    with ThreadPoolExecutor(8) as workers:
        for written in [workers.submit(rollback.write, challenger, model, "errors") for _ in range(200)]:
            written.result()
    assert rollback.is_rolled_back(challenger, model)
    assert bundle.fingerprint(challenger) == before
    assert {path.name for path in challenger.iterdir()} == {name for name, *_ in before} | {ROLLED_BACK}


def test_a_check_that_began_before_a_rollback_does_not_undo_it(
    local: Make, digits: Path, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = local(digits, challenger=challenger, canary_share=1.0, canary_min_requests=1, shadow_share=0.0)
    ask(service, 1)
    canary = service.worker.canary
    assert canary
    request = Request({"method": "POST", "path": "/predict", "headers": []}, None, 0)  # type: ignore[arg-type]

    def read_before(_folder: Path, of: Champion) -> bool:
        for _ in range(2):  # of other requests, meanwhile
            canary.failed(of, "failed", request)
        return False

    monkeypatch.setattr("serving.canary.rollback.is_rolled_back", read_before)
    asyncio.run(canary.poll())
    assert canary.state == "rolled_back"
