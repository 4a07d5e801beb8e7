"""Version of the code that a run executes."""

import os
import subprocess


def tags() -> dict[str, str]:
    """Run tags: git commit, whether the working tree differs from it, and the DVC experiment."""
    values = {"git_commit": _git("rev-parse", "HEAD") or "none", "git_dirty": str(_dirty()).lower()}
    if experiment := os.environ.get("DVC_EXP_NAME"):
        values["dvc_experiment"] = experiment
    return values


def _dirty() -> bool:
    """True if code or parameters differ from the commit; dvc.lock is excluded, as the run itself writes it."""
    return bool(_git("status", "--porcelain", "--", ".", ":!dvc.lock"))


def _git(*arguments: str) -> str:
    """Standard output of a git command; empty without git or a repository."""
    try:
        completed = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return completed.stdout.strip()
