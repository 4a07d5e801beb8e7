"""What all tests share: the environment of a stage, both frameworks in one process, and groups of parallel tests."""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.execution import garbage_collection
from tests.models.equality import SEEN

if TYPE_CHECKING:
    from tests.tiny_pipeline import Workspace

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The processes share the cores; models and data are small.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# A store that the user works with is not for tests to write to.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# A script that starts pytest in the background lets it ignore Ctrl-C, and with it the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# TensorFlow imported before triton aborts the process as soon as torch touches triton.
if importlib.util.find_spec("triton"):
    import triton  # noqa: F401


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> "Workspace":
    """A workspace in which `dvc repro` has run once. Tests only read it."""
    from tests import tiny_pipeline

    return tiny_pipeline.run(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="session")
def torch_operators() -> Iterator[None]:
    """List the operators that torch can export once. Every export lists them anew, in half of its time."""
    from torch.onnx._internal.exporter import _registration

    apis = _registration.onnxscript_apis
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apis, "get_torchlib_ops", cache(apis.get_torchlib_ops))
        yield


@pytest.fixture
def copy(pipeline: "Workspace", tmp_path: Path) -> "Workspace":
    """The same after the run, for a test to change."""
    shutil.copytree(pipeline.root, tmp_path / "tandem")
    return type(pipeline)(tmp_path / "tandem")


MOST_WORKERS = 4  # each takes 2 GiB of memory and imports both frameworks
# Tests of a group run one after another in one worker process, in this order of groups: those that share what takes
# long to make, and those that start servers or measure times, so that no two of these disturb each other. Every other
# module is a group of its own. The longest come first, so that workers end at about the same time.
GROUPS = {
    "tests/test_pipeline": "pipeline",
    "tests/benchmarks/test_inference": "pipeline",
    "tests/serving/": "servers",
    "tests/benchmarks/test_serving": "servers",
    "tests/models/": "models",
    "tests/test_extending": "models",
    "tests/pipelines/execution/test_ray_cluster": "ray",
    "tests/pipelines/train/": "train",
    "tests/pipelines/sweep/": "sweep",
    "tests/pipelines/tracking/": "tracking",
    "tests/pipelines/stages/test_memory": "memory",
    "tests/pipelines/stages/test_table_pipeline": "table pipeline",
    "tests/pipelines/doctor/": "doctor",
}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For the whole suite a worker more than cores, as many tests wait; what is named on the command line runs here."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return min(cores + 1, MOST_WORKERS) if is_whole and cores > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each group to one worker. (`--dist loadgroup` does not: its marks have no effect with pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return GroupScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while the test modules import both frameworks: that takes a fifth of the CPU time."""
    with garbage_collection.paused():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by group; skip those marked `gpu` where the driver lists no GPU."""
    rank = {group: number for number, group in enumerate(dict.fromkeys(GROUPS.values()))}
    items.sort(key=lambda item: rank.get(_group(item.nodeid), len(rank)))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


def _group(nodeid: str) -> str:
    module = nodeid.partition("::")[0]
    return next((group for prefix, group in GROUPS.items() if module.startswith(prefix)), module)


def _has_gpu() -> bool:
    driver = shutil.which("nvidia-smi")
    return bool(driver and subprocess.run([driver, "-L"], capture_output=True, text=True, check=False).stdout.strip())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the observed differences of a worker to the process that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["differences"] = {row: float(difference) for row, difference in SEEN.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the observed differences of a worker that has ended."""
    for row, difference in getattr(node, "workeroutput", {}).get("differences", {}).items():
        SEEN[row] = max(SEEN.get(row, 0.0), difference)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the differences that docs/equivalence.md documents, as observed in this run."""
    for row, difference in SEEN.items():
        terminalreporter.write_line(f"equal: {row}: {difference:.1e}")
