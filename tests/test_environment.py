"""The installed environment and the one that pyproject.toml resolves to: one CUDA, one owner of each file."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
# Of NVIDIA's packages those with a suffix are of the CUDA that it names; from CUDA 13 on most have none.
SUFFIX = re.compile(r"^nvidia-(?P<library>[a-z-]+?)(?:-cu(?P<cuda>\d+))?$")
NO_CUDA = {"nvidia-ml-py"}  # a client of the driver
# They come with the driver, or with TensorRT, which is an installation of its own.
FROM_ELSEWHERE = {"libcuda.so.1", "libnvidia-ml.so.1", "libnvinfer.so.10", "libnvonnxparser.so.10"}
# Symbols of these, of Python, and of libraries that the same runtime loads before: ONNX Runtime's, and torch's.
LOADED_BEFORE = re.compile(
    r"cu[A-Z]|create\w+_INTERNAL|get(InferLib|PluginReg)|_?Py|Provider_GetHost|_ZNK?\d*(3c10|5torch|2at)"
)
RUNTIMES = ("torch/lib/*.so*", "tensorflow/*.so*", "onnxruntime/capi/*.so", "nvidia/*/lib/*.so*")
# Of NVIDIA's libraries, for networks and launchers of a cluster; loaded where these are installed.
PLUGINS = re.compile(r"nvshmem_(bootstrap|transport)_|libcufile_rdma")


@pytest.fixture(scope="module")
def lock_file(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The packages of a fresh resolution of pyproject.toml, all extras and groups included."""
    if not (uv := shutil.which("uv")):
        pytest.skip("uv, which resolves the dependencies, is not on the path")
    folder = tmp_path_factory.mktemp("lock")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / "README.md", folder)
    done = subprocess.run([uv, "lock"], cwd=folder, capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr:
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr
    packages: list[dict[str, Any]] = tomllib.loads((folder / "uv.lock").read_text("utf-8"))["package"]
    return packages


@pytest.fixture(scope="module")
def locked(lock_file: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The versions of every package."""
    versions: dict[str, set[str]] = defaultdict(set)
    for package in lock_file:
        versions[package["name"]].add(package["version"])
    return versions


def cuda_of(names: set[str]) -> dict[str, set[str]]:
    """The CUDA suffixes of NVIDIA's packages, by the library that they install below `nvidia/`."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in names - NO_CUDA:
        if match := SUFFIX.match(name):
            found[match["library"]].add(match["cuda"] or "none")
    return found


def test_the_lock_has_one_cuda(locked: dict[str, set[str]]) -> None:
    libraries = cuda_of(set(locked))
    assert {"cudnn", "nccl", "cublas"} <= set(libraries)
    assert set().union(*libraries.values()) == {"12"}
    assert {version.partition(".")[0] for version in locked["cuda-bindings"]} == {"12"}


def test_two_generations_of_one_library_are_seen() -> None:
    assert cuda_of({"nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-ml-py"}) == {
        "cudnn": {"12", "13"},
        "cublas": {"none"},
    }


def test_the_lock_has_one_version_of_each_framework_and_cuda_library(locked: dict[str, set[str]]) -> None:
    frameworks = {"torch", "tensorflow", "keras", "onnxruntime", "onnxruntime-gpu"}
    several = {
        name: versions
        for name, versions in locked.items()
        if len(versions) > 1 and (name in frameworks or SUFFIX.match(name))
    }
    assert several == {}


def test_each_platform_has_one_onnx_runtime(lock_file: list[dict[str, Any]]) -> None:
    """`onnxruntime` and `onnxruntime-gpu` own the same files."""
    required: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for package in lock_file:
        groups = (package.get("optional-dependencies", {}), package.get("dev-dependencies", {}))
        lists = [package.get("dependencies", []), *(each for group in groups for each in group.values())]
        for each in (dependency for dependencies in lists for dependency in dependencies):
            required[each["name"]].add((package["name"], each.get("marker", "")))
    (gpu,), (cpu,) = required["onnxruntime-gpu"], required["onnxruntime"]
    assert (gpu[0], cpu[0]) == ("tandem", "tandem")
    for system in ("linux", "darwin", "win32"):
        for machine in ("x86_64", "arm64"):
            platform = {"sys_platform": system, "platform_machine": machine}
            assert Marker(gpu[1]).evaluate(platform) != Marker(cpu[1]).evaluate(platform)
            assert Marker(gpu[1]).evaluate(platform) == (system == "linux" and machine == "x86_64")


def test_no_two_installed_packages_own_one_file_with_different_contents() -> None:
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    # Ray adds a folder of its own packages to the path of a process that imports it.
    for distribution in metadata.distributions(path=[sysconfig.get_path("purelib")]):
        name = distribution.name  # reads a file each time
        for file in distribution.files or []:
            if file.hash and ".." not in file.parts:
                owners[str(file)].setdefault(file.hash.value, name)
    assert {file: sorted(each.values()) for file, each in owners.items() if len(each) > 1} == {}


def test_every_cuda_library_has_one_owner() -> None:
    """A second one, even of the same file, would delete it when it is removed."""
    site = Path(sysconfig.get_path("purelib"))
    owners: dict[Path, list[str]] = defaultdict(list)
    for distribution in metadata.distributions(path=[str(site)]):
        name = distribution.name
        for file in distribution.files or []:
            if ".so" in file.name and "nvidia" in file.parts:
                owners[site / file].append(name)
    libraries = {file for file in site.glob("nvidia/**/*.so*") if file.is_file()}
    if not libraries:
        pytest.skip("no CUDA library is installed")
    assert {file: owners[file] for file in libraries if len(owners[file]) != 1} == {}


@pytest.mark.skipif(sys.platform != "linux", reason="ldd is a Linux command")
def test_every_cuda_library_that_a_runtime_needs_is_installed() -> None:
    """Files and symbols, with the extra `gpu`: without it TensorFlow and ONNX Runtime lack some of theirs."""
    site = Path(metadata.distribution("torch").locate_file(""))
    if not (site / "nvidia" / "cuda_nvcc").is_dir():
        pytest.skip("the extra `gpu` is not installed")
    folders = [*site.glob("nvidia/*/lib"), site / "torch" / "lib"]
    environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))}
    missing, undefined = defaultdict(list), defaultdict(list)
    for pattern in RUNTIMES:
        files = [file for file in sorted(site.glob(pattern)) if not PLUGINS.match(file.name)]
        assert files, pattern
        for file in files:
            command = ["ldd", "-r", str(file)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            for library in re.findall(r"(\S+) => not found", done.stdout):
                missing[library].append(file.name)
            for symbol in re.findall(r"undefined symbol: ([^\s,]+)", done.stdout + done.stderr):
                if not LOADED_BEFORE.match(symbol):
                    undefined[file.name].append(symbol)
    assert set(missing) <= FROM_ELSEWHERE, missing
    assert undefined == {}
