"""Exported files, read in other processes."""

import signal
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import onnx
import pytest

from models.errors import InputError
from pipelines.export import __main__ as export
from pipelines.export import reader, reader_processes
from pipelines.export.batch_sizes import BATCH_SIZES
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY

INPUTS = synthetic.digits()["validation"][0][:10]


def ask(file):
    with reader_processes.started([file.name]) as readers:
        return list(readers.predict([file], synthetic.SPEC, INPUTS))


@pytest.fixture
def graph(tmp_path):
    file = tmp_path / "model.onnx"
    onnx.save(synthetic.graph(*synthetic.fitted()), file)
    return file


def test_a_graph_gives_in_its_own_process_what_its_weights_say(graph):
    ((file, found),) = ask(graph)
    assert file == graph
    assert found.shape == (len(BATCH_SIZES), 10, 10)
    weights, bias = synthetic.fitted()
    expected = (INPUTS.reshape(10, -1) / synthetic.SCALE @ weights + bias).argmax(-1)
    np.testing.assert_array_equal(found.argmax(-1), np.broadcast_to(expected, found.shape[:2]))


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_a_file_that_cannot_be_loaded_is_named_with_the_reason(tmp_path, name):
    (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(InputError) as caught:
        ask(tmp_path / name)
    assert str(caught.value).startswith(f"{name}: cannot be used in a process of its own: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_brings_another_framework_along_is_refused(graph, tmp_path, monkeypatch):
    program = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"
    (tmp_path / "sitecustomize.py").write_text(program, "utf-8")  # Python runs it when it starts
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))  # so that the reader starts Python anew
    with pytest.raises(InputError, match=r"model\.onnx: .* the file needs torch"):
        ask(graph)


def test_a_process_that_has_ended_is_reported_with_its_status(graph):
    with reader_processes.started([graph.name]) as readers:
        readers.processes[graph.name].process.kill()
        with pytest.raises(InputError, match=r"model\.onnx: .* status -9"):
            list(readers.predict([graph], synthetic.SPEC, INPUTS))


def test_requests_and_answers_may_be_larger_than_the_buffer_of_a_pipe(graph):
    int8 = graph.with_name("model.int8.onnx")
    int8.write_bytes(graph.read_bytes())
    spec = replace(synthetic.SPEC, name="x" * 2**20)
    with reader_processes.started([graph.name, int8.name]) as readers:
        answers = list(readers.predict([graph, int8], spec, np.tile(INPUTS, (200, 1, 1, 1))))
    assert [outputs.shape for _, outputs in answers] == 2 * [(len(BATCH_SIZES), 2000, 10)]


def test_files_of_runtimes_without_a_framework_share_a_process_that_ends_with_the_block():
    with reader_processes.started(["model.onnx", "model.int8.onnx", "model.tflite"]) as readers:
        (process,) = {started.process for started in readers.processes.values()}
        assert process.is_alive()
    assert process.exitcode == -signal.SIGKILL


IMPORTS = """
import sys
from pipelines.export import reader_processes
from pipelines.export.reader import READERS, imported_frameworks

framework = sys.argv[1]
names = [name for name in READERS if framework in READERS[name].frameworks]
with reader_processes.started(names) as readers:
    methods = {type(reader.process).__name__ for reader in readers.processes.values()}
print(*sorted(methods), *sorted(imported_frameworks()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each reader starts Python anew")
@pytest.mark.parametrize(("framework", "imported"), [("torch", ["torch"]), ("keras", ["keras", "tensorflow"])])
def test_readers_inherit_what_is_imported_once(framework, imported):
    command = [sys.executable, "-c", IMPORTS, framework]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ForkProcess", *imported]


@pytest.fixture
def hidden(monkeypatch):
    """What TensorFlow is told to see from now on: on a machine without a GPU nothing else tells."""
    import tensorflow as tf

    seen = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *given: seen.append(given))
    return seen


@pytest.mark.parametrize("name", ["model.keras", "saved_model"])
def test_tensorflow_reads_files_back_on_the_cpu(name, hidden, tmp_path):
    with pytest.raises((OSError, ValueError)):  # there is no file
        reader.READERS[name].prepare()(tmp_path / name, synthetic.SPEC)
    assert hidden == [([], "GPU")]


def test_tensorflow_exports_on_the_cpu(tmp_path, monkeypatch, hidden):
    synthetic.enter(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["export", "--framework", "keras", "--architecture", "linear"])
    with pytest.raises(FileNotFoundError, match=r"keras-linear/weights\.npz"):  # of no training
        export.main()
    assert hidden == [([], "GPU")]
