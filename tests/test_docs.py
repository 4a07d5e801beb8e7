"""README, CONTRIBUTING and docs/ against the repository: packages, links, commands, parameters, settings and paths."""

import itertools
import re
import shlex
import shutil
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from dvc.cli.parser import get_main_parser
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipelines.artifacts import paths
from pipelines.config import compatibility, overrides, params
from serving import routes, settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in DOCUMENTS}
PACKAGES = ("models", "pipelines", "serving")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
ABSENT = {"utils.py", "uv.lock"}  # named as files that the repository does not have
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def section(document: str, title: str) -> str:
    return TEXTS[document].split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str) -> dict[str, str]:
    """The second column of a table by the inline code of the first."""
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", text, re.MULTILINE)
    return {name: second for names, second in rows for name in re.findall(r"`([^`]+)`", names)}


def inline_code(text: str) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", text))]


def console_commands(text: str) -> Iterator[str]:
    """The commands of console blocks; one goes on where a line ends in a backslash, or within quotes."""
    for language, block in FENCE.findall(text):
        lines = iter(block.splitlines() if language == "console" else ())
        for line in lines:
            command = line.removeprefix("$ ")
            while line.startswith("$ ") and is_open(command):
                command = f"{command.removesuffix(chr(92))}\n{next(lines)}"
            if line.startswith("$ "):
                yield command


def is_open(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return command.endswith("\\")


CONSOLE = [command for text in TEXTS.values() for command in console_commands(text)]
INLINE = [code for text in TEXTS.values() for code in inline_code(text)]
CODE = [*CONSOLE, *INLINE]
OUTPUT = [block for text in TEXTS.values() for language, block in FENCE.findall(text) if language == "console"]


def arguments(prefix: str, commands: list[str]) -> list[list[str]]:
    """The words after `prefix` of all commands that contain it."""
    return [shlex.split(code.split(prefix, 1)[1], comments=True) for code in commands if prefix in code]


def test_the_readme_is_short() -> None:
    text = TEXTS["README.md"]
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1500
    assert {"uv run dvc repro", "uv run pytest"} <= set(console_commands(text))


def test_the_readme_lists_every_package_and_no_other() -> None:
    there = {re.sub("^(serving/deploy)/.*", r"\1", Path(file).parent.as_posix()) for file in tracked(*PACKAGES)}
    assert set(table(section("README.md", "Packages"))) == there


def test_no_folder_has_more_than_20_entries() -> None:
    """Those of `tests` excepted, as CONTRIBUTING.md says."""
    entries: dict[Path, set[Path]] = defaultdict(set)
    for path in (Path(file) for file in tracked() if not file.startswith("tests/")):
        for entry in (path, *path.parents[:-1]):
            entries[entry.parent].add(entry)
    assert {folder.as_posix(): len(names) for folder, names in entries.items() if len(names) > 20} == {}


def test_the_readme_links_every_page() -> None:
    linked = set(re.findall(r"^- \[[^]]+\]\((docs/[\w-]+\.md)\)", section("README.md", "Documentation"), re.MULTILINE))
    assert linked == {name for name in TEXTS if name.startswith("docs/")}


def test_every_stage_is_listed_and_no_other() -> None:
    expected = {f"{name}@F-A" if "matrix" in stage else name for name, stage in STAGES.items()}
    assert set(table(section("README.md", "How it works"))) == expected
    assert set(table(section("docs/architecture.md", "Data flow"))) == expected


def test_every_direct_dependency_is_explained_and_no_other() -> None:
    groups = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"].get("optional-dependencies", {}).values(),
        *PROJECT.get("dependency-groups", {}).values(),
    ]
    direct = {re.match(r"[\w.-]+", line)[0] for group in groups for line in group if isinstance(line, str)}
    assert set(table(TEXTS["docs/dependencies.md"])) == direct


def test_layers_and_contracts_are_those_of_the_project() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    block = re.search(r"```text\n(.*?)```", section("docs/architecture.md", "Layers"), re.DOTALL)[1]
    documented = {
        part.splitlines()[0]: [line.strip() for line in part.splitlines()[1:]] for part in block.split("\n\n")
    }
    assert documented == {one["containers"][0]: one["layers"] for one in contracts if one["type"] == "layers"}
    rows = re.findall(r"^\| (.+?) \|", section("docs/architecture.md", "Import contracts"), re.MULTILINE)
    assert rows[1:] == [one["name"] for one in contracts]


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", TEXTS)
def test_links_images_and_anchors_exist(document: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", FENCE.sub("", TEXTS[document]))
    for target, _, anchor in (link.partition("#") for link in links if "://" not in link):
        path = (ROOT / document).parent / target if target else ROOT / document
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_modules_that_are_run_exist_with_their_options() -> None:
    lines = [line for code in (*CODE, *OUTPUT) for line in code.splitlines()]
    called = arguments("python -m ", lines)
    assert {words[0] for words in called} >= {"pipelines.train", "pipelines.drift", "benchmarks.serving"}
    for module, *words in called:
        spec = find_spec(module)
        assert spec, module
        assert not spec.submodule_search_locations or find_spec(f"{module}.__main__"), module
        source = "".join(path.read_text("utf-8") for path in (ROOT / module.split(".")[0]).rglob("*.py"))
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []


@pytest.mark.parametrize("command", [code for code in CODE if "-S " in code])
def test_parameters_on_command_lines_are_valid(command: str, tmp_path: Path) -> None:
    words = shlex.split(command, comments=True)
    overrides = [value for option, value in itertools.pairwise(words) if option == "-S"]
    file = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    apply_overrides(file, overrides)
    compatibility.require_compatible(params.read(file))


@pytest.mark.parametrize("words", arguments(" dvc ", CODE), ids=" ".join)
def test_dvc_commands_parse(words: list[str]) -> None:
    parsed = get_main_parser().parse_args(words)
    if words[0] == "repro":
        assert {target.split("@")[0] for target in parsed.targets} <= {*STAGES, "sweep/dvc.yaml"}


def test_the_documented_stage_of_a_sweep_has_what_the_pipeline_makes() -> None:
    text = TEXTS["docs/sweeps.md"].partition("## As a DVC stage")[2].partition("```yaml")[2].partition("```")[0]
    ((_, stage),) = YAML(typ="safe").load(text)["stages"].items()
    assert set(stage["deps"]) <= set(STAGES["prepare"]["outs"])
    assert stage["params"]
    for name in stage["params"]:
        overrides.value_of(params.read(ROOT / "params.yaml"), name)


def test_groups_and_extras_exist() -> None:
    named = {
        kind: {name for words in arguments(f"--{kind} ", CODE) for name in words[:1]} for kind in ("group", "extra")
    }
    assert named["group"]
    assert named["extra"]
    assert named["group"] <= set(PROJECT["dependency-groups"])
    assert named["extra"] <= set(PROJECT["project"]["optional-dependencies"])


def test_called_and_listed_paths_of_the_service_exist() -> None:
    for words in arguments("curl ", CONSOLE):
        url = next(word for word in words if word.startswith("localhost:3000/"))
        routes.find("POST" if {"-d", "-F"} & set(words) else "GET", url.removeprefix("localhost:3000"))
    listed = set(table(section("docs/serving.md", "Endpoints"))) | set(
        table(section("README.md", "Serve the champion"))
    )
    assert listed >= set(routes.ROUTES) - set(routes.static_files.FILES)
    for path in listed:
        assert path in routes.ROUTES or routes.find("POST" if path.endswith("/infer") else "GET", path)


def test_every_setting_is_documented_with_its_default_and_no_other() -> None:
    fields = settings.Settings.model_fields
    expected = {f"{settings.PREFIX}{name.upper()}": shown(field.default) for name, field in fields.items()}
    assert table(section("docs/serving.md", "Settings")) == expected
    named = {name for text in TEXTS.values() for name in re.findall(r"TANDEM_[A-Z_]*[A-Z]", text)}
    assert named <= set(expected)


def shown(default: object) -> str:
    if default in (None, "", ()):
        return "unset"
    return f"`{default}`".replace(f"{ROOT}/", "").replace(str(Path.home()), "~")


def test_parameters_and_modules_in_the_text_exist() -> None:
    sections = YAML(typ="safe").load(ROOT / "params.yaml")
    named = [match for code in INLINE if (match := re.match(r"(\w+(?:\.\w+)+)(?:$|[=: ])", code))]
    known = [match[1] for match in named if match[1].split(".")[0] in (*sections, *PACKAGES, "benchmarks")]
    assert len(known) > 20
    names = [name for name in known if not name.endswith(".json")]  # such as run.json, a file
    assert [name for name in names if not (is_parameter(name, sections) or is_module(name))] == []


def is_parameter(name: str, values: object) -> bool:
    for key in name.split("."):
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def is_module(name: str) -> bool:
    package = name.partition(".")[0]
    return (ROOT / package).is_dir() and find_spec(name) is not None


def test_paths_in_code_exist() -> None:
    folders = "|".join(sorted({re.escape(file.split("/")[0]) for file in tracked() if "/" in file}))
    named = {path for code in CODE for path in re.findall(rf"(?<![\w/.:])((?:{folders}|artifacts)/[\w./-]*)", code)}
    named |= {code for code in INLINE if re.fullmatch(r"[\w-]+\.(yaml|toml|lock|md|py)", code) and code not in ABSENT}
    assert len(named) > 40
    assert [path for path in sorted(named) if not (is_artifact(path) or is_file(path))] == []


def is_file(path: str) -> bool:
    """A file or folder of the repository, or a file named in the row of its package."""
    return (ROOT / path).exists() or ("/" not in path and any((ROOT / package / path).exists() for package in PACKAGES))


def is_artifact(path: str) -> bool:
    """An output of a stage or of a command, the folder of some, or a file within one that the code names."""
    names = [re.sub(r"\b(torch|keras)-(mlp|cnn)\b", "F-A", name) for name in (path.rstrip("/"), *outputs())]
    path, known = Path(names[0]), [Path(name) for name in names[1:]]
    if any(path == one or path in one.parents for one in known):
        return True
    source = "".join((ROOT / file).read_text("utf-8") for file in tracked("pipelines") if file.endswith(".py"))
    return any(one in path.parents for one in known) and f'"{path.name}"' in source


def outputs() -> Iterator[str]:
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, ()):
                name = out if isinstance(out, str) else next(iter(out))
                yield name.replace("${item.framework}-${item.architecture}", "F-A")
    yield paths.DRIFT_REPORT.as_posix()
    yield paths.sweep("F-A").as_posix()
    yield settings.REGISTRY.as_posix()
