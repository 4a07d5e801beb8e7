"""Record the bundle in `artifacts/champion` in dvc.lock after a command other than `dvc repro` has replaced it.

`dvc exp run` begins with a checkout of the outputs in dvc.lock; without the record, it would restore the bundle before.
"""

import sys
from pathlib import Path

from models.errors import one_line
from pipelines.artifacts import paths

STAGE = "promote"
ADVICE = f"run `dvc commit --force {STAGE}`, as `dvc exp run` and `dvc checkout` restore the bundle that it records"


def update(version: str) -> None:
    """Record `version`, now in `artifacts/champion`, as the output of `promote`, and print that in one line.

    Dependencies and parameters that dvc.lock records stay as they are, so that `dvc repro` still runs the stage if they
    have changed. An error is printed with the command to run. Without dvc.lock, or where that has no champion, nothing
    is done.
    """
    if not (Path(".dvc").is_dir() and Path("dvc.lock").exists()):
        return
    try:
        if _record():
            print(f"dvc.lock: records version {version} in {paths.CHAMPION}", flush=True)
    except BaseException as error:  # each part of DVC has its own types
        reason = one_line(error) or type(error).__name__  # Ctrl-C has no message
        print(f"dvc.lock: does not record version {version} ({reason}); {ADVICE}", file=sys.stderr, flush=True)
        if not isinstance(error, Exception):
            raise


def _record() -> bool:
    """Add the bundle to DVC's cache and to dvc.lock; False if dvc.lock has no champion."""
    from dvc.repo import Repo

    with Repo(Path.cwd()) as repo, repo.lock:
        stage = repo.stage.load_one(name=STAGE)
        (output,) = (output for output in stage.outs if output.def_path == paths.CHAMPION.as_posix())
        if not output.hash_info:
            return False
        stage.add_outs(output.fs_path, relink=False)
        stage.dump(update_pipeline=False)
        return True
