"""What DVC is told, against what the stages do: imports, parameters, outputs, and what a change runs again."""

import ast
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import grimp
import networkx
import pytest
from dvc.repo import Repo
from dvc.stage import PipelineStage

from models.config import Framework, Models
from pipelines.config.params import Params
from pipelines.execution.optional_imports import EXTRAS_OF_KERAS
from tests.pipelines.workspace import REPOSITORY, write_params

FRAMEWORKS, ARCHITECTURES = get_args(Framework), tuple(Models.model_fields)
CANDIDATES = [f"{framework}-{architecture}" for framework in FRAMEWORKS for architecture in ARCHITECTURES]
SINGLE = ("check", "load", "prepare", "promote")
PER_CANDIDATE = ("train", "export", "evaluate")
STAGES = [*SINGLE, *(f"{stage}@{candidate}" for stage in PER_CANDIDATE for candidate in CANDIDATES)]
# Listed as a whole: DVC reads all of dvc.lock, and writes it after each stage.
SHARED = (
    "models/training/",
    "pipelines/artifacts/",
    "pipelines/config/",
    "pipelines/tracking/",
)
WITHOUT_EFFECT = {"run"}  # on results: it says where they are computed, so no stage runs again because of it
HEAVY = {"torch", "tensorflow", "keras"}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """dvc.yaml with every framework and every architecture there is, whatever params.yaml asks for."""
    folder = tmp_path_factory.mktemp("dvc")
    with Repo.init(folder, no_scm=True):
        shutil.copy(REPOSITORY / "dvc.yaml", folder)
        shutil.copytree(REPOSITORY / ".dvc" / "plots", folder / ".dvc" / "plots")
        write_params(folder, {"frameworks": list(FRAMEWORKS), "architectures": list(ARCHITECTURES)})
    return Repo(folder)


def stages(pipeline: Repo) -> dict[str, PipelineStage]:
    return {stage.name: stage for stage in pipeline.index.stages}


def relative(pipeline: Repo, path: str) -> str:
    return Path(path).relative_to(pipeline.root_dir).as_posix()


def code_deps(pipeline: Repo, name: str) -> set[str]:
    """The Python files among the dependencies of a stage, those of folders one by one."""
    named = [relative(pipeline, dep.fs_path) for dep in stages(pipeline)[name].deps]
    paths = [REPOSITORY / dep for dep in named if dep.split("/")[0] in ("models", "pipelines", "serving")]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return {file.relative_to(REPOSITORY).as_posix() for file in files if file.read_text("utf-8") or not is_init(file)}


def is_init(file: Path) -> bool:
    return file.name == "__init__.py"


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("models", "pipelines", "serving", cache_dir=None)


def imported_files(name: str) -> set[str]:
    """The files that a stage reads as code: what it imports, by name or by the choice of its command line."""
    stage, _, candidate = name.partition("@")
    roots = {module_of(stage), *chosen_modules(stage, *candidate.split("-"))}
    found = roots.union(*(imports().find_upstream_modules(root) for root in roots))
    files = [file_of(module) for module in found]
    return {file.relative_to(REPOSITORY).as_posix() for file in files if file.read_text("utf-8") or not is_init(file)}


def module_of(stage: str) -> str:
    """The module that `python -m pipelines.STAGE` runs."""
    return f"pipelines.{stage}.__main__" if (REPOSITORY / "pipelines" / stage).is_dir() else f"pipelines.{stage}"


def chosen_modules(stage: str, framework: str, architecture: str = "") -> set[str]:
    """What is imported by a name that is known at run time only: modules of a framework, sources of data."""
    if stage == "load":
        return set(imports().find_descendants("pipelines.sources"))
    main = file_of(module_of(stage))
    files = main.parent.glob("*.py") if main.stem == "__main__" else [main]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    names = {ast.literal_eval(call.args[0]) for call in calls if called(call) == "framework_module"}
    names |= {architecture for call in calls if called(call) == "architecture_module"}
    return {f"models.{framework}.{name}" for name in names}


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def file_of(module: str) -> Path:
    path = REPOSITORY.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("name", STAGES)
def test_deps_name_the_modules_that_the_stage_imports_and_no_others(pipeline, name):
    listed, imported = code_deps(pipeline, name), imported_files(name)
    assert sorted(imported - listed) == [], "imported, not in deps of dvc.yaml"
    others = {file for file in listed - imported if not file.startswith(SHARED)}
    assert sorted(others) == [], "in deps of dvc.yaml, not imported"


def test_every_stage_of_the_pipeline_is_looked_at(pipeline):
    assert sorted(stages(pipeline)) == sorted(STAGES)


def test_modules_are_found_by_import_statements_but_for_frameworks_and_sources():
    """Any other way to import would not be seen above."""
    files = [*(REPOSITORY / "pipelines").rglob("*.py"), *(REPOSITORY / "models").rglob("*.py")]
    users = {file.relative_to(REPOSITORY).as_posix() for file in files if "import_module" in file.read_text("utf-8")}
    assert users == {"pipelines/execution/candidate.py", "pipelines/sources/by_name.py"}


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_params_name_the_sections_that_the_stage_reads_and_no_others(pipeline, name):
    stage, _, candidate = name.partition("@")
    listed = listed_params(stages(pipeline)[name])
    read = sections_read(stage)
    if "models" in read:
        read = (read - {"models"}) | {f"models.{candidate.split('-')[1]}"}
    if "candidates" in read:
        read = (read - {"candidates"}) | {"frameworks", "architectures"}
    # One value of a section may be listed in place of the whole.
    assert {key if key in read else key.split(".")[0] for key in listed} == read


def sections_read(stage: str) -> set[str]:
    """The attributes of `settings`, or of what `params.read()` gives, that the file of the stage uses."""
    tree = ast.parse(file_of(module_of(stage)).read_text("utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found = {node.attr for node in attributes if ast.unparse(node.value) in ("settings", "params.read()")}
    return found & {*Params.model_fields, "candidates"} - WITHOUT_EFFECT


@pytest.mark.parametrize("stage", ["load", "prepare", "export", "evaluate", "promote", "drift"])
def test_parameters_are_read_in_main_and_passed_down_by_section(stage):
    for file in (REPOSITORY / "pipelines" / stage).rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        functions = {node.name: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert {name for name, code in functions.items() if "params.read(" in code} <= {"main"}
        assert "Params" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_all_of_the_parameters_are_checked_first(pipeline):
    deps = [relative(pipeline, dep.fs_path) for dep in stages(pipeline)["check"].deps]
    assert "params.yaml" in deps
    assert not listed_params(stages(pipeline)["check"])
    before = {stage.name for stage in networkx.descendants(pipeline.index.graph, stages(pipeline)["load"])}
    assert before == {"check"}


@pytest.mark.parametrize("path", [None, 5, True])
def test_an_invalid_path_is_left_to_check(path, tmp_path):
    with Repo.init(tmp_path, no_scm=True):
        shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
        write_params(tmp_path, {"data.path": path})
    with Repo(tmp_path) as repo:
        assert "load" in stages(repo)


def test_all_parameters_that_are_listed_exist(pipeline):
    values = json.loads(Params.model_validate(parameters()).model_dump_json())
    for stage in stages(pipeline).values():
        for key in listed_params(stage):
            place = values
            for part in key.split("."):
                assert part in place, f"{stage.name}: {key}"
                place = place[part]


def parameters() -> object:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(REPOSITORY / "params.yaml")


def test_outputs_are_under_artifacts_which_git_ignores(pipeline):
    outs = [relative(pipeline, out.fs_path) for stage in stages(pipeline).values() for out in stage.outs]
    assert all(out.startswith("artifacts/") for out in outs)
    asked = git("check-ignore", "--no-index", *outs, "dvc_plots/index.html", "mlflow.db", "mlartifacts/0")
    assert sorted(asked) == sorted([*outs, "dvc_plots/index.html", "mlflow.db", "mlartifacts/0"])


def test_git_tracks_no_output():
    assert git("ls-files", "artifacts", "mlartifacts", "mlflow.db", "dvc_plots", ".dvc/tmp", ".dvc/cache") == []


def test_an_archive_of_the_repository_needs_no_git(tmp_path):
    """`git archive` replaces a comment in DVC's configuration (export-subst)."""
    shutil.copy(REPOSITORY / ".gitattributes", tmp_path)
    (tmp_path / ".dvc").mkdir()
    shutil.copy(REPOSITORY / ".dvc" / "config", tmp_path / ".dvc")
    git("init", "--quiet", folder=tmp_path)
    git("add", ".", folder=tmp_path)
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    git(*author, "commit", "--quiet", "--message", "Import", folder=tmp_path)
    with Repo(tmp_path) as repo:
        assert not repo.config["core"].get("no_scm")
    git("archive", "--output", "archive.zip", "HEAD", folder=tmp_path)
    shutil.unpack_archive(tmp_path / "archive.zip", tmp_path / "archive")
    with Repo(tmp_path / "archive") as repo:
        assert repo.config["core"]["no_scm"]
        assert not repo.config["core"]["analytics"]


def git(*arguments: str, folder: Path = REPOSITORY) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode < 2, done.stderr
    return done.stdout.split()


def test_a_parameter_of_the_cnn_runs_its_trainings_again_and_what_follows(pipeline):
    users = [name for name, stage in stages(pipeline).items() if "models.cnn" in listed_params(stage)]
    cnns = [f"{framework}-cnn" for framework in FRAMEWORKS]
    expected = {f"{stage}@{name}" for stage in PER_CANDIDATE for name in cnns}
    assert with_what_follows(pipeline, users) == expected | {"promote"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_change_in_a_framework_package_runs_no_stage_of_the_other_framework(pipeline, framework):
    package = (REPOSITORY / "models" / framework).glob("*.py")
    files = {file.relative_to(REPOSITORY).as_posix() for file in package if file.read_text("utf-8")}
    users = [name for name in stages(pipeline) if files & code_deps(pipeline, name)]
    candidates = [f"{framework}-{architecture}" for architecture in ARCHITECTURES]
    expected = {f"{stage}@{name}" for stage in PER_CANDIDATE for name in candidates}
    assert with_what_follows(pipeline, users) == expected | {"promote"}


def listed_params(stage: PipelineStage) -> set[str]:
    return {key for dep in stage.params for key in dep.params}


def with_what_follows(pipeline: Repo, names: list[str]) -> set[str]:
    """The stages and all that depend on an output of theirs. `check` stands apart: its output never changes."""
    graph = pipeline.index.graph
    chosen = [stages(pipeline)[name] for name in names]
    return {stage.name for first in chosen for stage in {first, *networkx.ancestors(graph, first)}}


def test_the_directions_of_the_design_hold():
    """The contracts of import-linter in pyproject.toml."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def loaded_after(program: str) -> set[str]:
    """The top-level packages of a new process that has run `program`."""
    program = f"{program}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_stages_that_neither_train_nor_track_import_what_they_need_only():
    loaded = loaded_after(f"import {', '.join(map(module_of, ('check', 'load', 'prepare')))}")
    assert not loaded & {*HEAVY, "mlflow", "onnxruntime", "sklearn", "requests"}


def test_stages_import_no_framework_before_they_know_which():
    tracked = ("train", "evaluate", "promote")
    program = (
        f"import sys, {module_of('export')}\n"
        "assert 'mlflow' not in sys.modules\n"
        f"import {', '.join(map(module_of, tracked))}"
    )
    assert not loaded_after(program) & HEAVY
    for stage in tracked:
        assert any(name.startswith("pipelines.tracking.") for name in imports().find_upstream_modules(module_of(stage)))


@pytest.mark.parametrize(
    ("framework", "others"),
    [("torch", {"tensorflow", "keras", "tf2onnx"}), ("keras", {"torch", *EXTRAS_OF_KERAS})],
)
def test_a_framework_package_imports_its_own_framework_only(framework, others):
    """Keras also without its optional packages."""
    files = sorted(file.stem for file in (REPOSITORY / "models" / framework).glob("*.py") if not is_init(file))
    program = (
        "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'\n"
        "from pipelines.execution.candidate import Candidate\n"
        f"for file in {files}: Candidate('{framework}', 'mlp').framework_module(file)"
    )
    loaded = loaded_after(program)
    assert framework in loaded
    assert not loaded & others
