"""The README against the repository: its floor plan, its table of dependencies, its pictures."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
ROOMS = ("models", "pipelines", "serving")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def drawn() -> Iterator[str]:
    """The files of the floor plan; a line such as `torch/ keras/` opens two folders at once."""
    plan = section("Floor plan").split("```text\n", 1)[1].split("```", 1)[0]
    open_folders = [[""]]
    for line in filter(str.strip, plan.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.match(r"\s*(\S+/(?: \S+/)*|\S+)", line)[1].split()
        paths = [f"{parent}{name}" for parent in open_folders[depth] for name in names]
        open_folders[depth + 1 :] = [paths]
        yield from (path for path in paths if not path.endswith("/"))


def test_the_floor_plan_has_a_line_for_every_file_and_no_other():
    listed = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    there = {path for path in listed.split() if not path.endswith("__init__.py")}
    assert {path for path in drawn() if path.startswith(ROOMS)} == there


def test_every_direct_dependency_is_explained_and_no_other():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = [
        project["project"]["dependencies"],
        *project["project"].get("optional-dependencies", {}).values(),
        *project.get("dependency-groups", {}).values(),
    ]
    direct = {re.match(r"[\w.-]+", line)[0] for group in groups for line in group if isinstance(line, str)}
    assert set(re.findall(r"^\| `([\w.-]+)` \|", section("Why each dependency"), re.MULTILINE)) == direct


def test_what_the_readme_points_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
