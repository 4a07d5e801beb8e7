"""`python -m pipelines.doctor`, on this machine and with simulated properties of others."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from models.gpu_driver import has_nvidia_driver
from pipelines.config import params
from pipelines.doctor import __main__ as doctor
from pipelines.doctor import (
    child_process,
    convolution,
    data,
    devices,
    dvc_repository,
    libraries,
    processor,
    stores,
    versions,
)
from tests.pipelines.workspace import run_main, run_stage, write_params

SUBJECTS = (
    *("params.yaml", "python", "torch", "tensorflow", "keras", "onnx", "mlflow", "dvc", "bentoml", "onnxruntime"),
    *("processor", "cores", "NVIDIA driver", "torch computes", "tensorflow computes", "onnxruntime computes"),
    *("train torch", "export", "evaluate, promote, drift", "service", "int8 graphs"),
    *("MLflow store", "champion", "DVC remotes", "data: digits"),
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """Of one run, which starts every framework; where there is no GPU, torch is asked to use one."""
    folder = tmp_path_factory.mktemp("doctor")
    device = "auto" if has_nvidia_driver() else "cuda"
    write_params(folder, {"train.device": device, "frameworks": ["torch"]})
    done = run_stage("doctor", folder)
    assert {path.name for path in folder.iterdir()} <= {"params.yaml", "cache"}  # the tools' own cache
    return done


def test_each_subject_is_one_line(output: subprocess.CompletedProcess[str]) -> None:
    lines = output.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "problem") for line in lines), output.stderr
    for subject in SUBJECTS:
        assert sum(line[9:39].strip() == subject for line in lines) == 1, subject


def test_a_configured_gpu_that_is_not_available_is_the_only_problem(output: subprocess.CompletedProcess[str]) -> None:
    problems = [line for line in output.stdout.splitlines() if line.startswith("problem")]
    assert output.returncode == (0 if has_nvidia_driver() else 1)
    subjects = [] if has_nvidia_driver() else ["torch computes", "train torch"]
    assert [problem[9:39].strip() for problem in problems] == subjects
    assert all("auto, cpu" in problem for problem in problems)


def test_without_a_problem_the_status_is_zero(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(workspace, {})
    monkeypatch.setattr(doctor, "_check_environment", lambda settings: data.check(settings.data))
    done = run_main(doctor.main)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok", "ok"]


def test_an_invalid_params_file_is_the_only_result(workspace: Path) -> None:
    write_params(workspace, {"train.epochs": 0})
    (result,) = doctor.check()
    assert result.status == "problem"
    assert "train.epochs = 0" in result.detail


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.optimizer": "lbfgs"}, "not available in keras"),
        ({"data.source": "iris"}, "architecture 'cnn' does not fit 'iris'"),
        ({"train.loss": "mse"}, "train.loss = 'mse' does not fit 'digits'"),
    ],
)
def test_what_the_check_stage_rejects_is_a_problem(workspace: Path, changes: dict[str, str], words: str) -> None:
    write_params(workspace, changes)
    (result,) = doctor.check()
    assert result.status == "problem"
    assert words in result.detail


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"data.source": "digits"}, "ok", "scikit-learn"),
        ({"data.source": "digits", "data.path": "x"}, "problem", "data.path = 'x'"),
        ({"data.source": "mnist"}, "warning", "not on this machine"),
        ({"data.source": "mnist", "data.path": "nowhere"}, "problem", "data.path = 'nowhere': no such folder"),
        ({"data.source": "cifar10"}, "ok", "cache/tandem/cifar10"),
    ],
)
def test_location_of_the_data(workspace: Path, changes: dict[str, str], status: str, words: str) -> None:
    archive = workspace / "cache" / "tandem" / "cifar10" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.touch()
    (result,) = data.check(params.read(write_params(workspace, changes)).data)
    assert result.status == status
    assert words in result.detail


@pytest.mark.parametrize(
    ("installed", "status"),
    [
        ({"onnxruntime": "1.31.1"}, "ok"),
        ({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, "problem"),
        ({}, "problem"),
    ],
)
def test_two_onnx_runtimes_in_one_environment_are_a_problem(installed: dict[str, str], status: str) -> None:
    assert versions.onnxruntime(installed).status == status


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        ("flags : fpu avx2 avx512f avx_vnni", "ok", "AVX2 yes, AVX512 yes, VNNI yes, BF16 no, AMX no"),
        ("flags : fpu avx", "warning", "AVX2 no"),
        ("Features : fp asimd", "ok", "without the instruction sets of x86-64"),
    ],
)
def test_instruction_sets_of_the_processor(tmp_path: Path, flags: str, status: str, words: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n\n")
    result = processor.instruction_sets(tmp_path / "cpuinfo")
    assert result.status == status
    assert words in result.detail


@pytest.mark.parametrize(("required", "status"), [(True, "warning"), (False, "ok")])
def test_missing_libraries_are_a_warning_only_with_a_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool, status: str
) -> None:
    (tmp_path / "libtandem_one.so.1").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    result = libraries.check_libraries(("libtandem_one.so.1", "libtandem_two.so.1"), required=required)
    assert result.status == status
    assert "missing libtandem_two.so.1" in result.detail
    assert "one" not in result.detail


@pytest.mark.parametrize(
    ("cuda", "status", "words"),
    [
        (None, "ok", "not installed"),
        (11_080, "warning", "supports CUDA 11.8"),
        (12_000, "ok", "supports CUDA 12.0"),
        (13_010, "ok", "supports CUDA 13.1"),
    ],
)
def test_a_driver_that_is_too_old_is_a_warning(cuda: int | None, status: str, words: str) -> None:
    result = libraries.check_driver(cuda)
    assert result.status == status
    assert words in result.detail
    assert ("driver 525 or newer" in result.advice) == (status == "warning")


def test_packages_of_two_cuda_versions_are_a_problem_and_named() -> None:
    names = {"nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas-cu12", "nvidia-ml-py", "torch"}
    result = libraries.check_packages(names)
    assert result.status == "problem"
    assert "CUDA 12: nvidia-cublas-cu12, nvidia-cudnn-cu12; CUDA 13: nvidia-cudnn-cu13" in result.detail
    assert "uv sync --extra gpu" in result.advice
    assert libraries.check_packages(names - {"nvidia-cudnn-cu13"}).status == "ok"
    assert libraries.check_packages({"torch"}).detail == "none installed"


def test_a_package_of_a_version_that_a_runtime_excludes_is_a_problem() -> None:
    requirements = {"torch": ["numpy>=9", "nvidia-cudnn-cu12==9.10.2.21; python_version >= '3'"]}
    requirements["torch"].append("nvidia-cudnn-cu12==9.1; platform_machine == 'other'")
    requirements["tensorflow"] = ["nvidia-cudnn-cu12<10.0,>=9.3; extra == 'and-cuda'", "nvidia-nccl-cu12>=2.25"]
    versions = {"numpy": "2.4", "nvidia-cudnn-cu12": "9.10.2.21"}
    assert libraries.check_requirements(versions, requirements).status == "ok"
    result = libraries.check_requirements(versions | {"nvidia-cudnn-cu12": "9.28.0.1"}, requirements)
    assert (result.status, result.advice) == ("problem", libraries.REINSTALL)
    assert result.detail == "nvidia-cudnn-cu12 9.28.0.1, torch requires ==9.10.2.21"


@pytest.mark.parametrize(
    ("loaded", "consistent", "status"),
    [("9.10.2", True, "ok"), ("9.10", True, "ok"), ("9.1", True, "problem"), ("9.10.2", False, "problem")],
)
def test_a_loaded_library_of_another_version_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, loaded: str, consistent: bool, status: str
) -> None:
    monkeypatch.setattr(libraries.metadata, "version", lambda _: "9.10.2.21")
    result = libraries.check_version("cuDNN", "nvidia-cudnn-cu12", loaded, consistent=consistent)
    assert result.status == status


def test_a_loaded_library_without_its_package_is_a_problem() -> None:
    result = libraries.check_version("cuDNN", "nvidia-cudnn-cu0", "9.10.2")
    assert (result.status, result.detail) == ("problem", "9.10.2 loaded, which is not from nvidia-cudnn-cu0")


@pytest.mark.parametrize(
    ("device", "configured", "driver", "status"),
    [
        ("cuda", "auto", True, "ok"),
        ("cpu", "auto", False, "ok"),
        ("cpu", "auto", True, "warning"),
        ("cpu", "cpu", True, "ok"),
        ("cpu", "cuda", True, "problem"),
        ("cpu", "cuda", False, "problem"),
        ("cpu", None, False, "ok"),
    ],
)
def test_device_used_against_the_configured_one(device, configured, driver, status) -> None:
    assert devices.compare("torch computes", device, "", configured, driver=driver).status == status


def test_each_part_of_the_pipeline_has_a_device_and_a_reason(workspace: Path) -> None:
    write_params(workspace, {"evaluate.device": "cpu"})
    settings = params.read()
    outputs = {
        "torch": {"training": {"torch-mlp": "", "torch-cnn": "train.devices.torch-cnn = 'cpu'"}},
        "tensorflow": {"training": dict.fromkeys(("keras-mlp", "keras-cnn"), "TensorFlow sees no CUDA device")},
        "onnxruntime": {"reason": ""},
    }
    found = {result.subject: result.detail for result in devices.parts(settings, outputs, "auto")}
    assert found.pop("export").startswith("on the CPU: ")
    assert found == {
        "train torch": "torch-mlp on the GPU; torch-cnn on the CPU: train.devices.torch-cnn = 'cpu'",
        "train keras": "on the CPU: TensorFlow sees no CUDA device",
        "evaluate, promote, drift": "on the CPU: evaluate.device = 'cpu'",
        "service": "on the GPU",
        "int8 graphs": "on the GPU in float32 between quantisations; TensorRT and the CPU compute in 8 bits",
    }
    outputs["onnxruntime"] = {"reason": "there is no NVIDIA driver"}
    found = {result.subject: result.detail for result in devices.parts(settings, outputs, "cpu")}
    assert found["service"] == "on the CPU: TANDEM_DEVICE = 'cpu'"
    assert found["int8 graphs"] == "on the CPU: there is no NVIDIA driver"
    outputs["onnxruntime"] = outputs["torch"] = child_process.CheckProcessError("no answer")
    assert [result.subject for result in devices.parts(settings, outputs, "cpu")] == ["train keras", "export"]


@pytest.mark.parametrize(
    ("device", "reason", "status", "detail"),
    [
        ("auto", "", "ok", "on the GPU"),
        ("auto", "no driver", "ok", "on the CPU: no driver"),
        ("cuda", "", "ok", "on the GPU"),
        ("cuda", "no driver", "problem", "TANDEM_DEVICE = 'cuda': no driver"),
        ("tensorrt", "no driver", "problem", "TANDEM_DEVICE = 'tensorrt': no driver"),
        ("tensorrt", "", "problem", "TANDEM_DEVICE = 'tensorrt': libnvinfer.so.10 is missing"),
    ],
)
def test_a_gpu_that_the_service_requires_and_cannot_use_is_a_problem(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, device: str, reason: str, status: str, detail: str
) -> None:
    monkeypatch.setattr(devices, "is_installed", lambda _: False)
    write_params(workspace, {"frameworks": ["torch"]})
    failed = child_process.CheckProcessError("no answer")
    outputs = {"torch": failed, "tensorflow": failed, "onnxruntime": {"reason": reason}}
    results = {result.subject: result for result in devices.parts(params.read(), outputs, device)}
    assert (results["service"].status, results["service"].detail) == (status, detail)


def test_a_candidate_whose_gpu_cannot_be_used_is_a_problem(workspace: Path) -> None:
    """Although the library computes on another GPU, and other candidates are trained on the CPU."""
    write_params(workspace, {"train.devices": {"torch-cnn": "cuda:3", "keras": "cpu"}})
    missing = "train.devices.torch-cnn = 'cuda:3': no such GPU; allowed here: cuda:0, cuda, auto, cpu"
    outputs = {
        "torch": {"device": "cuda", "training": {"torch-mlp": "", "torch-cnn": missing}},
        "tensorflow": {"training": dict.fromkeys(("keras-mlp", "keras-cnn"), "train.devices.keras = 'cpu'")},
        "onnxruntime": {"reason": ""},
    }
    torch, keras, *_ = devices.parts(params.read(), outputs, "auto")
    assert (torch.status, torch.subject, torch.detail) == ("problem", "train torch", f"torch-cnn: {missing}")
    assert (keras.status, keras.detail) == ("ok", "on the CPU: train.devices.keras = 'cpu'")


@pytest.mark.parametrize(("error", "words"), [(RuntimeError(), "RuntimeError"), (OSError("one\ntwo"), "one")])
def test_a_gpu_failure_is_reported_in_one_line_even_without_a_message(error: Exception, words: str) -> None:
    def compute(requested: str) -> tuple[str, str, np.ndarray]:
        if requested == "auto":
            raise error
        return "cpu", "on the CPU", np.full((6, 6), convolution.EXPECTED)

    assert convolution._try(compute) == ("cpu", f"on the CPU; on the GPU it failed: {words}")


@pytest.mark.parametrize(
    ("module", "words"),
    [("pipelines.nothing", "No module named"), ("models.gpu_driver", "ended with status 0")],
)
def test_a_process_without_output_is_reported(module: str, words: str) -> None:
    with pytest.raises(child_process.CheckProcessError, match=words):
        child_process.run(module)


def test_an_unreachable_store_is_a_problem_and_a_remote_a_warning(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(doctor.__file__).parents[2]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://name:secret@127.0.0.1:9")
    with Repo.init(workspace, no_scm=True) as repo, repo.config.edit("repo") as config:
        config["remote"] = {"there": {"url": str(workspace)}, "gone": {"url": str(workspace / "gone")}}
    mlflow, champion, there, gone = stores.check()
    assert (mlflow.status, champion.status, there.status, gone.status) == ("problem", "warning", "ok", "warning")
    assert "not reachable" in mlflow.detail
    assert "not compared with the registry" in champion.detail
    assert "secret" not in mlflow.detail + champion.detail


def test_files_that_a_killed_dvc_has_damaged_are_reported(workspace: Path) -> None:
    locks, lock_file = workspace / ".dvc" / "tmp" / "rwlock", workspace / "dvc.lock"
    (workspace / "dvc.yaml").write_text("stages: {a: {cmd: echo}}", "utf-8")
    with Repo.init(workspace, no_scm=True) as repo:
        assert dvc_repository.check_files(repo) == []
        locks.write_text("{}", "utf-8")
        lock_file.write_text("schema: '2.0'\nstages: {a: {cmd: echo}}", "utf-8")
        assert dvc_repository.check_files(repo) == []
        locks.write_text("", "utf-8")
        conflict = "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  a: {cmd: a}\n=======\n  a: {cmd: b}\n>>>>>>> other\n"
        for content in ("", "schema: '2.0'\nstages:\n  a:\n    c", conflict):
            lock_file.write_text(content, "utf-8")
            lines = [str(result) for result in dvc_repository.check_files(repo)]
            assert [line.split()[0] for line in lines] == ["problem"] * 2
            assert "dvc.lock" in lines[0]
            assert "a `dvc` command was killed, or a merge left conflicts" in lines[0]
            assert "`git checkout HEAD -- dvc.lock`, or delete it" in lines[0]
            assert str(locks) in lines[1]
        with repo.lock, Repo(workspace) as other:  # they may be incomplete while a command runs
            assert dvc_repository.check_files(other) == []


def test_commands_of_a_moved_environment_are_reported(workspace: Path) -> None:
    script = workspace / "dvc"
    assert versions.commands(workspace) == []
    (workspace / "link").symlink_to(workspace, target_is_directory=True)
    for start in (f"#!{workspace}/python3", f"#!{workspace}/link/python3", "#!/bin/sh", "\x7fELF"):
        script.write_bytes(start.encode() + b"\nimport dvc\n")
        assert versions.commands(workspace) == []
    script.write_text("#!/elsewhere/.venv/bin/python\nimport dvc\n")
    (result,) = versions.commands(workspace)
    assert result.status == "problem"
    assert f"{script} starts /elsewhere/.venv/bin/python" in result.detail


def test_without_remotes_or_repository(workspace: Path) -> None:
    assert dvc_repository.check()[0].status == "warning"
    Repo.init(workspace, no_scm=True).close()
    assert dvc_repository.check() == [dvc_repository.NONE]
    with Repo(workspace) as repo, repo.config.edit("repo") as config:
        config["core"]["no_scm"] = False
    (result,) = dvc_repository.check()
    assert result.status == "problem"
    assert "is not a git repository; run `git init`" in str(result)


@pytest.mark.parametrize("name", ["config", "config.local"])
@pytest.mark.parametrize("content", [b"[core\nx", b"\xff", b"[core]\n    remoote = a\n"])
def test_a_damaged_configuration_of_dvc_is_named(workspace: Path, name: str, content: bytes) -> None:
    Repo.init(workspace, no_scm=True).close()
    (workspace / ".dvc" / name).write_bytes(content)
    (result,) = dvc_repository.check()
    assert (result.status, result.subject) == ("problem", "DVC")
    assert f"no `dvc` command works: {workspace / '.dvc' / name}: " in result.detail
    assert len(str(result).splitlines()) == 1
