"""Reachability of the MLflow store and the DVC remotes, and DVC's own files."""

from concurrent.futures import ThreadPoolExecutor

from pipelines.doctor import child_process
from pipelines.doctor.check_result import CheckResult, Status
from pipelines.doctor.child_process import CheckProcessError

# Module of the check, and status if it fails: training requires the MLflow store; no stage requires a remote.
STORES: dict[str, tuple[str, Status]] = {
    "MLflow store": ("pipelines.doctor.mlflow_store", "problem"),
    "DVC remotes": ("pipelines.doctor.dvc_repository", "warning"),
}


def check() -> list[CheckResult]:
    """The results for both stores, each from a child process."""
    with ThreadPoolExecutor(len(STORES)) as pool:
        return [result for results in pool.map(_check, STORES) for result in results]


def _check(subject: str) -> list[CheckResult]:
    module, status_on_failure = STORES[subject]
    try:
        return [CheckResult(**fields) for fields in child_process.run(module)]
    except CheckProcessError as error:
        return [CheckResult(status_on_failure, subject, str(error), "check the installation and the server")]
