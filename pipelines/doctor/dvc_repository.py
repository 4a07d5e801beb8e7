"""Check the DVC remotes, and that DVC's own files are not damaged: `python -m pipelines.doctor.dvc_repository`.

Prints the list of results as JSON.
"""

import json
from dataclasses import asdict
from pathlib import Path

from dvc.config import Config, ConfigError
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE
from dvc.scm import SCMError

from pipelines.doctor.check_result import CheckResult
from pipelines.execution import stage

NONE = CheckResult("ok", "DVC remotes", "none configured; data and models stay on this machine")


def main() -> None:
    """Print the results."""
    print(json.dumps([asdict(result) for result in check()]))


def check() -> list[CheckResult]:
    """One result per remote: whether its folder, which the first `dvc push` creates, exists; and damaged files."""
    try:
        with Repo() as repo:
            remotes = [_check_remote(repo, name) for name in repo.config["remote"]] or [NONE]
            return remotes + check_files(repo)
    except NotDvcRepoError as error:
        return [CheckResult("warning", "DVC remotes", str(error), "run from the root of the repository")]
    except SCMError as error:
        advice = "run `git init`, `git add .` and `git commit -m Import`, or `dvc config core.no_scm true`"
        return [CheckResult("problem", "DVC", f"no `dvc` command works: {error}", advice)]
    except ConfigError as error:
        detail = f"no `dvc` command works: {_damaged_config()}: {error}"
        return [CheckResult("problem", "DVC", detail, "correct the file; `git checkout` restores one that is in git")]


def _damaged_config() -> Path:
    """The configuration file that cannot be read; that of the repository if each can, but not all together."""
    repository = Path(Repo.find_root(), Repo.DVC_DIR, Config.CONFIG)
    others = [Path(Config.get_dir(level), Config.CONFIG) for level in Config.SYSTEM_LEVELS]
    for path in (repository, repository.with_name(Config.CONFIG_LOCAL), *others):
        try:
            if path.is_file():
                Config.validate(Config.load_file(str(path)))
        except ConfigError:
            return path
    return repository


def check_files(repo: Repo) -> list[CheckResult]:
    """A problem for each file that DVC does not replace as a whole, if it is damaged.

    None while a `dvc` command runs, which may be writing them.
    """
    try:
        with repo.lock:
            return [*_check_lock_file(repo), *_check_locks(Path(repo.tmp_dir or "", RWLOCK_FILE))]
    except LockError:
        return []


def _check_lock_file(repo: Repo) -> list[CheckResult]:
    try:
        Lockfile(repo, str(Path(repo.root_dir, LOCK_FILE))).load()
    except DvcException as error:
        advice = (
            "run `git checkout HEAD -- dvc.lock`, or delete it; `dvc repro` then takes completed stages from its cache"
        )
        detail = f"{error}: a `dvc` command was killed, or a merge left conflicts"
        return [CheckResult("problem", LOCK_FILE, detail, advice)]
    return []


def _check_locks(path: Path) -> list[CheckResult]:
    try:
        json.loads(path.read_text("utf-8"))
    except ValueError:
        detail = f"{path} is damaged: a `dvc` command was killed"
        return [CheckResult("problem", "DVC locks", detail, "delete it")]
    except FileNotFoundError:
        pass
    return []


def _check_remote(repo: Repo, name: str) -> CheckResult:
    subject = f"DVC remote {name}"
    try:
        store = repo.cloud.get_remote(name)
        exists = store.fs.exists(store.path)
    except Exception as error:  # each kind of remote has its own types
        return CheckResult("warning", subject, str(error), "`dvc push` and `dvc pull` will fail")
    if not exists:
        return CheckResult("warning", subject, f"{store.path} does not exist", "`dvc push` creates it if permitted")
    return CheckResult("ok", subject, f"{store.path} is reachable")


if __name__ == "__main__":
    stage.run(main)
