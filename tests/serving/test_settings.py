"""Settings: reading from the environment, and validation."""

from pathlib import Path

import pytest

from models.errors import InputError
from models.onnx.session import CPU, CUDA, TENSORRT
from serving.process import cores
from serving.settings import Settings, read


def test_defaults_and_changes() -> None:
    assert read({}) == Settings()
    given = {"TANDEM_CHAMPION": "x", "TANDEM_WORKERS": "3", "TANDEM_CORS_ORIGINS": "http://a, http://b", "HOME": "y"}
    settings = read(given)
    assert (settings.champion, settings.workers, settings.cors_origins) == (Path("x"), 3, ("http://a", "http://b"))


@pytest.mark.parametrize(
    "origin", ["*", "null", "http://localhost:8080", "https://[::1]:8443", "chrome-extension://abc", "http://a:4430"]
)
def test_origins_of_pages(origin: str) -> None:
    assert read({"TANDEM_CORS_ORIGINS": origin}).cors_origins == (origin,)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TANDEM_WORKERS", "many", "TANDEM_WORKERS: 'many': Input should be a valid integer"),
        ("TANDEM_WORKERS", "-1", "greater than or equal to 0"),
        ("TANDEM_DEVICE", "gpu", "'auto', 'cpu', 'cuda' or 'tensorrt'"),
        ("TANDEM_POLL_SECONDS", "0", "greater than 0"),
        ("TANDEM_POLL_SECONDS", "nan", "finite"),
        ("TANDEM_MAX_BODY_BYTES", "1", "1024"),
        ("TANDEM_LOG_SHARE", "1.5", "less than or equal to 1"),
        ("TANDEM_API_KEY", "correct horse", "TANDEM_API_KEY: ***: String should match"),
        ("TANDEM_API_KEY", "secret\n", "no spaces"),
        ("TANDEM_API_KEY", " ", "no spaces"),
        ("TANDEM_API_KEY", "schlüssel", "printable ASCII"),
        ("TANDEM_MODEL_NAME", "stats", "TANDEM_MODEL_NAME: 'stats': Value error, reserved (model name "),
        ("TANDEM_MODEL_NAME", "..", "other than stats, ., .."),
        ("TANDEM_MODEL_NAME", "a" * 101, "String should match"),
        (
            "TANDEM_CORS_ORIGINS",
            "http://a, https://app.example/",
            "'https://app.example/' is no origin; allowed: *, null or origins such as",
        ),
        ("TANDEM_CORS_ORIGINS", "app.example", "no origin"),
        ("TANDEM_CORS_ORIGINS", "https://App.example", "no origin"),
        ("TANDEM_CORS_ORIGINS", "https://app.example:443", "no origin"),
        ("TANDEM_WORKER", "1", "TANDEM_WORKER: no such setting; allowed: TANDEM_CHAMPION"),
    ],
)
def test_errors_are_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read({name: value})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cores_are_limited_by_the_containers_quota(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("150000 100000\n")
    assert cores.available(quota) == 1
    quota.write_text("max 100000\n")
    assert cores.available(quota) == cores.available(tmp_path / "none") >= 1


@pytest.mark.parametrize(("provider", "count"), [(CPU, 8), (CUDA, 2), (TENSORRT, 2)])
def test_a_gpu_has_two_workers_by_default(provider: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available", lambda: 8)
    assert cores.workers(provider) == count
    monkeypatch.setattr(cores, "available", lambda: 1)
    assert cores.workers(provider) == 1
