"""Netron's page for every exported file, and the command that serves it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import netron
import onnx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pipelines import inspect
from pipelines.export import quantization
from tests.browser import NO_BROWSER, chromium
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, assert_one_error_line

# An operator that the drawing of each file must contain.
DRAWN = {
    "torch/model.onnx": "Conv",
    "torch/model.int8.onnx": "QuantizeLinear",
    "torch/model.pt2": "conv2d",
    "keras/model.onnx": "Conv",
    "keras/model.keras": "Conv2D",
    "keras/saved_model": "VarHandleOp",
    "keras/model.tflite": "Conv2D",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one architecture in both frameworks."""
    folder = tmp_path_factory.mktemp("exported")
    for framework in FRAMEWORKS:
        (folder / framework).mkdir()
        model = framework_module(framework, "cnn").build(synthetic.SPEC, CONFIGS["cnn"])
        framework_module(framework, "export").export(model, synthetic.SPEC, folder / framework)
    graph, inputs = onnx.load(folder / "torch" / "model.onnx"), synthetic.digits()["train"][0][:50]
    quantization.quantize(graph, synthetic.SPEC, inputs, folder / "torch" / "model.int8.onnx")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser that can only connect to this machine."""
    closed = "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with chromium(tmp_path_factory.mktemp("browser"), closed) as driver:
        yield driver


def test_every_exported_file_is_tested(exported):
    files = {f"{folder.name}/{file.name}" for folder in exported.iterdir() for file in folder.iterdir()}
    assert files == set(DRAWN)


@NO_BROWSER
@pytest.mark.parametrize("name", DRAWN)
def test_netron_draws_every_file(browser, exported, name):
    file = inspect.netron_file(exported / name)
    host, port = netron.start(str(file), (inspect.LOOPBACK, None), browse=False)
    try:
        browser.get(f"http://{host}:{port}/favicon.ico")
        # Without it, the page asks for consent to telemetry before it draws.
        browser.add_cookie({"name": "consent", "value": "1"})
        browser.get(f"http://{host}:{port}")
        nodes = WebDriverWait(browser, 120).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#target .node"))
        assert DRAWN[name] in " ".join(node.text for node in nodes)
    finally:
        netron.stop((host, port))


def started(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "pipelines.inspect", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def workspace(folder: Path) -> Path:
    target = folder / "artifacts" / "exports" / "torch-cnn"
    target.mkdir(parents=True)
    onnx.save(synthetic.graph(*synthetic.fitted()), target / "model.onnx")
    (target / "parity.json").write_text(json.dumps({"files": {"model.onnx": {}}}), "utf-8")
    return folder


def test_the_command_serves_on_this_machine_until_it_is_ended(tmp_path):
    process = started(workspace(tmp_path), "torch-cnn")
    line = process.stdout.readline()
    assert re.fullmatch(r"artifacts/exports/torch-cnn/model\.onnx: http://127\.0\.0\.1:\d+ \(Ctrl-C ends\)\n", line)
    process.send_signal(signal.SIGTERM)  # as Ctrl-C, which a shell switches off for what runs in the background
    assert process.wait(120) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["torch-rnn"], ["candidate 'torch-rnn' is not in artifacts/exports; allowed: torch-cnn"]),
        (["../exports/torch-cnn"], ["allowed: torch-cnn"]),
        (["torch-cnn", "--file", "parity.json"], ["file 'parity.json' is not in", "allowed: model.onnx"]),
    ],
)
def test_a_missing_file_is_reported_with_the_existing_ones(tmp_path, arguments, words):
    process = started(workspace(tmp_path), *arguments)
    stdout, stderr = process.communicate(timeout=120)
    assert_one_error_line(subprocess.CompletedProcess([], process.returncode, stdout, stderr), *words)
