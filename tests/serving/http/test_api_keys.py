"""Named API keys: the file, their quotas over all workers, and that no key is ever written."""

import asyncio
import contextlib
import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import InputError
from serving.http import key_file, quota
from serving.http.api_keys import ApiKeys
from serving.http.quota import Quota
from serving.settings import Settings
from tests.serving.bundles import DIGITS, raw
from tests.serving.conftest import PATIENCE, ROOT, Local, environment

ALICE, BOB = "alice-has-this-key", "bob-has-that-key"
LINES = f"# comment\n  # indented\n\nalice {ALICE} 2\nbob sha256:{hashlib.sha256(BOB.encode()).hexdigest()} unlimited\n"
BODY = {"inputs": raw(DIGITS, 1).tolist()}
TAKE = """
import sys
from pathlib import Path
from serving.http.quota import Quota
quota = Quota("alice", 60_000, Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(sum(quota.take() == 0 for _ in range(20_000)))
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(LINES, "utf-8-sig")
    return file


def header(key: str) -> dict[str, Any]:
    return {"headers": {"x-api-key": key}}


def test_named_keys_and_the_single_key_are_accepted(keys: Path, digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits, api_keys_file=keys, api_key="single")
    for accepted in (ALICE, BOB, "single"):
        assert service.get("/model", **header(accepted)).status_code == 200
    assert service.get("/model", headers={"authorization": f"Bearer {BOB}"}).status_code == 200
    hashed = LINES.split()[-2]
    for rejected in ("", "other", "alice", hashed, hashed.removeprefix("sha256:")):
        response = service.get("/model", **header(rejected))
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["error"].startswith("the key is not valid: " if rejected else "a key is needed: ")
    assert service.get("/readyz").status_code == 200


def test_a_used_up_quota_is_429_until_retry_after(keys: Path, digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits, api_keys_file=keys)
    statuses = [service.post("/predict", json=BODY, **header(ALICE)).status_code for _ in range(2)]
    response = service.post("/predict", json=BODY, **header(ALICE))
    assert [*statuses, response.status_code] == [200, 200, 429]
    assert 1 <= int(response.headers["retry-after"]) <= 30
    assert response.json()["error"].startswith("the quota of this key is used up: 2 requests per minute; try again in")
    assert service.get("/model", **header(BOB)).status_code == 200
    assert service.get("/readyz", **header(ALICE)).status_code == 200
    metrics = service.get("/metrics", **header(BOB)).text
    assert 'tandem_key_requests_total{key="alice",result="accepted"} 2.0' in metrics
    assert 'tandem_key_requests_total{key="alice",result="over_quota"} 1.0' in metrics
    assert 'tandem_rejections_total{reason="quota"} 1.0' in metrics
    assert ALICE not in metrics


def test_an_overloaded_service_uses_up_no_quota(keys: Path, digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits, api_keys_file=keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.worker.load, "in_flight", 100)
        patch.setattr(service.worker.load, "_seconds", 1.0)
        assert [service.post("/predict", json=BODY, **header(ALICE)).status_code for _ in range(3)] == [503] * 3
    assert service.post("/predict", json=BODY, **header(ALICE)).status_code == 200


def test_a_quota_refills_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(quota.time, "monotonic", lambda: now)
    limited = Quota("alice", 6, None)
    assert [limited.take() for _ in range(7)] == [0, 0, 0, 0, 0, 0, pytest.approx(10)]
    now += 9.9
    assert limited.take() == pytest.approx(0.1)
    now += 0.1
    assert (limited.take(), limited.take()) == (0, pytest.approx(10))
    now += 3600
    assert [limited.take() for _ in range(7)] == [0, 0, 0, 0, 0, 0, pytest.approx(10)]


def test_processes_share_a_quota(tmp_path: Path) -> None:
    """20,000 attempts by each of four at once: 60,000 are accepted, and one more for each millisecond that passes."""
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    variables = environment(tmp_path, PYTHONPATH=str(ROOT))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, env=variables, text=True, **pipes) for _ in range(4)]
    assert [process.stdout and process.stdout.readline() for process in running] == ["ready\n"] * 4
    started = time.monotonic()
    for process in running:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    accepted = sum(int(process.communicate()[0]) for process in running)
    assert 60_000 <= accepted <= 60_001 + 1000 * (time.monotonic() - started)


def watched(settings: Settings, changes: Callable[[ApiKeys], Any]) -> ApiKeys:
    """Keys whose file is watched while it changes."""
    watched = ApiKeys(settings, None, lambda *_: None)

    async def run() -> None:
        task = asyncio.create_task(watched.watch())
        for expected in changes(watched):
            async with asyncio.timeout(PATIENCE):
                while not expected():
                    await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return watched


def test_the_file_is_read_again_and_an_error_keeps_the_former_keys(
    keys: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bentoml.tandem"), "propagate", True)

    def changes(watched: ApiKeys) -> Any:
        assert watched.is_valid(ALICE.encode())
        keys.write_text("carol carols-key 1\n", "utf-8")
        yield lambda: watched.is_valid(b"carols-key")
        assert not watched.is_valid(ALICE.encode())
        keys.write_text("carol carols-next-key\n", "utf-8")
        yield lambda: "keeping the former API keys" in caplog.text
        keys.unlink()
        yield lambda: "No such file" in caplog.text
        assert watched.is_valid(b"carols-key")
        keys.write_text("", "utf-8")
        yield lambda: not watched.is_valid(b"carols-key")

    watched(Settings(api_keys_file=keys, poll_seconds=0.01), changes)
    assert caplog.text.count("keeping the former") == 2
    assert "carols" not in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("alice s3cret", "line 1: found 2 words; allowed: NAME KEY REQUESTS_PER_MINUTE"),
        ("# names\nalice s3cret 5 5", "line 2: found 4 words"),
        ("al/ice s3cret 5", "line 1: invalid name; allowed: 1 to 64 of"),
        ("alice s3crét 5", "line 1: invalid key; allowed: printable ASCII"),
        ("alice sha256:s3cret 5", "line 1: invalid key"),
        ("alice s3cret 0", "line 1: invalid requests per minute; allowed: a whole number from 1, or `unlimited`"),
        ("5 alice s3cret", "line 1: invalid requests per minute"),
        ("alice s3cret 5\nbob s3cret 6", "line 2: this key is in the file twice"),
        ("alice s3cret 5\nalice s3cret2 6", "line 2: this name has another quota above"),
        ("\n".join(f"k{number} s3cret{number} 1" for number in range(257)), "line 257: more than 256 keys"),
    ],
)
def test_errors_name_the_line_and_nothing_of_it(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "keys"
    file.write_text(lines, "utf-8")
    with pytest.raises(InputError) as caught:
        key_file.read(file)
    assert message in str(caught.value)
    assert "s3cr" not in str(caught.value)


def test_labels_are_shown_to_a_named_key(keys: Path, digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits, api_keys_file=keys)
    assert "`digits`" not in service.get("/docs.json").text
    assert "`digits`" in service.get("/docs.json", **header(BOB)).text


def test_the_access_log_has_the_name(
    keys: Path, digits: Path, local: Callable[..., Local], capsys: pytest.CaptureFixture[str]
) -> None:
    local(digits, api_keys_file=keys, log_share=1.0).get("/model", **header(BOB))
    output = capsys.readouterr().out
    assert json.loads(output)["key"] == "bob"
    assert BOB not in output


def test_an_error_in_the_file_ends_the_start_in_one_line(digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with pytest.raises(InputError, match="No such file"):
        key_file.read(file)
    file.write_text("alice s3cret", "utf-8")
    variables = environment(tmp_path, TANDEM_CHAMPION=str(digits), TANDEM_API_KEYS_FILE=str(file))
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Tandem", "--port", "1"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "line 1: found 2 words" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
