"""The Bento: its files and requirements, and that it serves where no framework can be imported."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import httpx
import numpy as np
import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

from tests.models.images.test_image import encode
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import ROOT, Served, environment, running

FOREIGN = ("torch", "tensorflow", "keras", "onnx", "mlflow", "dvc", "sklearn", "matplotlib", "pipelines")
# Requests to the network fail at a closed port.
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "UV_OFFLINE": "1"}
BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FOREIGN!r}:
            raise ImportError(name + " is not in the Bento")

sys.meta_path.insert(0, Blocker())
"""


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a champion and files that must not be included."""
    source = tmp_path_factory.mktemp("source")
    for package in ("serving", "models"):
        shutil.copytree(ROOT / package, source / package)
    shutil.copy(ROOT / "pyproject.toml", source)
    champion = write(source / "artifacts" / "champion", weights(DIGITS))
    (champion / ".champion.json.partial").touch()
    (source / "artifacts" / "report.html").touch()
    return source


@pytest.fixture(scope="module")
def bento(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Bento, built without network access."""
    home = tmp_path_factory.mktemp("bento")
    command = [sys.executable, "-m", "bentoml", "build", str(source)]
    subprocess.run(command, check=True, cwd=source, env=environment(home, **OFFLINE))
    return next(path.parent for path in home.glob("bentos/tandem/*/bento.yaml"))


@pytest.fixture(scope="module")
def from_bento(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The Bento served outside the repository, in processes that cannot import packages it does not contain."""
    home = tmp_path_factory.mktemp("elsewhere")
    (home / "sitecustomize.py").write_text(BLOCKER, "utf-8")
    blocked = subprocess.run(
        [sys.executable, "-c", "import torch"], check=False, env=environment(home, PYTHONPATH=str(home))
    )
    assert blocked.returncode == 1
    with running(str(bento), home, home / "home", PYTHONPATH=str(home), TANDEM_WORKERS="1") as served:
        yield served


def requirements(bento: Path) -> list[Requirement]:
    lines = (bento / "env" / "python" / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line]


def test_it_contains_only_serving_its_imports_and_the_champion(source: Path, bento: Path) -> None:
    files = {path.relative_to(bento / "src") for path in (bento / "src").rglob("*") if path.is_file()}
    every = {path.relative_to(source) for path in (source / "serving").rglob("*") if path.is_file()}
    serving = {path for path in every if not {"deploy", "__pycache__"} & set(path.parts)}
    imported = grimp.build_graph("serving", "models", cache_dir=None).find_upstream_modules("serving", as_package=True)
    modules = {Path(*name.split(".")).with_suffix(".py") for name in imported if name.startswith("models.")}
    champion = {path for path in files if path.parent == Path("artifacts/champion")}
    assert {path.suffix for path in champion} == {".json", ".onnx"}
    packages = {parent / "__init__.py" for module in modules for parent in module.parents if parent != Path()}
    assert files == serving | modules | packages | champion | {Path("bentofile.yaml")}


def test_it_requires_only_the_packages_of_serving(bento: Path) -> None:
    required = requirements(bento)
    table: dict[str, Any] = project()["project"]  # type: ignore[assignment]
    lines = table["dependencies"] + table["optional-dependencies"]["tracing"]
    expected = {Requirement(line).name for line in lines}
    assert {requirement.name for requirement in required} == expected
    assert not expected & set(FOREIGN)


def test_the_image_has_the_projects_versions_and_a_user_other_than_root(bento: Path) -> None:
    dockerfile = (bento / "env" / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    assert dockerfile[[line.startswith("FROM") for line in dockerfile].index(True)].startswith("FROM python:3.11-slim")
    assert [line for line in dockerfile if line.startswith("USER")] == ["USER bentoml"]
    assert "EXPOSE 3000" in dockerfile
    assert {"ARG BENTOML_HOST=0.0.0.0", "ENV BENTOML_HOST=$BENTOML_HOST"} <= set(dockerfile)
    assert "ENV BENTOML_DO_NOT_TRACK=$BENTOML_DO_NOT_TRACK" in dockerfile
    newest = project()["tool"]["uv"]["exclude-newer"]  # type: ignore[index]
    assert f"ARG UV_EXCLUDE_NEWER={newest}" in dockerfile


@pytest.mark.parametrize(("argument", "status", "installs"), [("no", 0, False), ("yes", 0, True), ("1", 1, False)])
def test_the_image_has_the_gpu_libraries_if_its_build_argument_says_so(
    bento: Path, tmp_path: Path, argument: str, status: int, installs: bool
) -> None:
    dockerfile = (bento / "env" / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    assert {"ARG GPU_LIBRARIES=no", "ENV GPU_LIBRARIES=$GPU_LIBRARIES"} <= set(dockerfile)
    (script,) = (bento / "env" / "docker").glob("script_*")
    (run,) = [line for line in dockerfile if line.endswith(f"./env/docker/{script.name}")]
    packages = next(line for line in dockerfile if "pip install -r $BENTO_PATH" in line)
    assert dockerfile.index(packages) < dockerfile.index(run) < dockerfile.index("USER bentoml")
    (tmp_path / "uv").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')  # in place of an installation
    (tmp_path / "uv").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GPU_LIBRARIES": argument}
    done = subprocess.run(["/bin/sh", script], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    table: dict[str, Any] = project()["project"]  # type: ignore[assignment]
    (extra,) = table["optional-dependencies"]["serving-gpu"]
    installed = f"pip\ninstall\n{extra.split(';')[0].strip()}\n" if installs else ""
    assert done.stdout == installed


def test_its_labels_and_service(bento: Path) -> None:
    content = yaml.safe_load((bento / "bento.yaml").read_text("utf-8"))
    assert content["labels"] == {"project": "tandem"}
    assert content["service"] == "serving.service:Tandem"


def test_its_predictions(from_bento: Served) -> None:
    inputs = raw(DIGITS, 5)
    answer = httpx.post(f"{from_bento.url}/predict", json={"inputs": inputs[..., 0].tolist()})
    assert answer.status_code == 200
    outputs = [list(row["probabilities"].values()) for row in answer.json()["predictions"]]
    np.testing.assert_allclose(outputs, weights(DIGITS).expected(inputs), atol=1e-5)


def test_large_images_are_decoded_in_its_own_processes(from_bento: Served) -> None:
    large = encode(Image.new("L", (2000, 2000), 9))
    response = httpx.post(f"{from_bento.url}/predict/image", content=large, headers={"content-type": "image/png"})
    assert response.status_code == 200


def test_its_pages_and_documentation(from_bento: Served) -> None:
    for path in ("/", "/page.js", "/docs", "/docs/swagger-ui-bundle.js", "/docs.json", "/schema.json"):
        assert httpx.get(from_bento.url + path).status_code == 200


def test_the_number_of_workers_is_set_where_it_is_served(from_bento: Served) -> None:
    """And not by the machine where it was built."""
    children = psutil.Process(from_bento.process.pid).children(recursive=True)
    workers = [child for child in children if "_bentoml_impl.worker.service" in " ".join(child.cmdline())]
    assert len(workers) == 1
