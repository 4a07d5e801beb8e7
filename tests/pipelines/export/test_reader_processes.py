"""Exported files, each in a process of its own."""

import signal
import sys

import numpy as np
import onnx
import pytest

from models.errors import InputError
from pipelines.export import __main__ as export
from pipelines.export import reader, reader_processes
from pipelines.export.batch_sizes import BATCH_SIZES
from tests.pipelines import synthetic

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
    with pytest.raises(InputError, match=r"model\.onnx: .* the file needs torch"):
        ask(graph)


def test_a_runtime_that_is_not_needed_after_all_is_gone_at_once(graph):
    with reader_processes.started(["model.onnx", "model.int8.onnx"]) as readers:
        ((file, _),) = readers.predict([graph], synthetic.SPEC, INPUTS)
        assert readers.processes["model.int8.onnx"].poll() is None
    assert file == graph
    assert readers.processes["model.int8.onnx"].returncode == -signal.SIGKILL


@pytest.fixture
def hidden(monkeypatch):
    """What TensorFlow is told to see from now on: on a machine without a GPU nothing else tells."""
    import keras
    import tensorflow as tf

    seen = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *given: seen.append(given))
    monkeypatch.setitem(sys.modules, "keras", keras)  # the reader of a SavedModel takes it away
    return seen


@pytest.mark.parametrize("name", ["model.keras", "saved_model"])
def test_tensorflow_reads_files_back_on_the_cpu(name, hidden):
    reader.READERS[name].prepare()
    assert hidden == [([], "GPU")]


def test_tensorflow_exports_on_the_cpu(tmp_path, monkeypatch, hidden):
    synthetic.enter(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["export", "--framework", "keras", "--architecture", "linear"])
    with pytest.raises(FileNotFoundError, match=r"keras-linear/weights\.npz"):  # of no training
        export.main()
    assert hidden == [([], "GPU")]
