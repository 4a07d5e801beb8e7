"""Whether the stores answer: MLflow's, and the remotes of DVC."""

from concurrent.futures import ThreadPoolExecutor

from pipelines.config.params import Params
from pipelines.doctor import subprocess_check
from pipelines.doctor.finding import Finding, Status
from pipelines.doctor.subprocess_check import ApartError

# Runs cannot be recorded without MLflow's store; no stage needs a remote.
STORES: dict[str, tuple[str, Status]] = {
    "MLflow store": ("pipelines.doctor.mlflow_store", "problem"),
    "DVC remotes": ("pipelines.doctor.dvc_remotes", "warning"),
}


def look(_settings: Params) -> list[Finding]:
    """The findings of both, each in a process of its own."""
    with ThreadPoolExecutor(len(STORES)) as pool:
        return [finding for part in pool.map(_look, STORES) for finding in part]


def _look(subject: str) -> list[Finding]:
    module, worst = STORES[subject]
    try:
        return [Finding(**finding) for finding in subprocess_check.ask(module)]
    except ApartError as error:
        return [Finding(worst, subject, str(error), "is it installed, is its server up?")]
