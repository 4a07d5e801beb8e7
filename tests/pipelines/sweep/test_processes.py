import pytest

from models import gpu_driver
from pipelines.config import params
from pipelines.sweep import processes
from pipelines.sweep.worker import Task
from tests.pipelines.workspace import write_params

SHOW_GPUS = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"


@pytest.mark.parametrize(
    ("count", "visible", "device", "expected"),
    [
        (0, None, "auto", ["None"] * 3),
        (2, None, "auto", ["0", "1", "0"]),
        (4, None, "cuda", ["0", "1", "2"]),
        (2, "5,GPU-8f,-1", "auto", ["5", "GPU-8f", "5"]),
        (0, "", "auto", [""] * 3),
        (2, None, "cuda:1", ["None"] * 3),
    ],
)
def test_each_process_sees_a_gpu_of_its_own(tmp_path, monkeypatch, count, visible, device, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(gpu_driver, "count", lambda: count)
    monkeypatch.setattr(processes, "COMMAND", ["-c", SHOW_GPUS])
    settings = params.read(write_params(tmp_path, {"train.device": device}))
    names = [f"process {index}" for index in range(3)]
    tasks = [
        Task("torch", "mlp", {}, "study", str(tmp_path), "outputs", name, index, "0", "0")
        for index, name in enumerate(names)
    ]
    with processes.started(tasks, settings) as started:
        started.end(60)
        assert [started.processes[name].lines() for name in names] == [[line] for line in expected]
