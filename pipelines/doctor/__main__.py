"""Check whether this machine supports the configuration in `params.yaml`: `python -m pipelines.doctor`.

Prints one line per check: status (`ok`, `warning` or `problem`), subject, detail and advice. Exit status 1 if there is
a problem. Nothing is changed.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from models.errors import InputError
from pipelines.config import compatibility, params
from pipelines.config.params import Params
from pipelines.doctor import data, devices, libraries, processor, stores, versions
from pipelines.doctor.check_result import CheckResult
from pipelines.execution import stage


def main() -> None:
    """Print the results of all checks; exit with status 1 if there is a problem."""
    results = check()
    print(*results, sep="\n")
    if any(result.status == "problem" for result in results):
        sys.exit(1)


def check() -> list[CheckResult]:
    """The results of all checks; only that of `params.yaml` if it is not valid."""
    try:
        settings = params.read()
        compatibility.require_compatible(settings)
        settings.data.require_options()
        compatibility.require_memory(settings)
    except InputError as error:
        return [CheckResult("problem", "params.yaml", str(error), "the other checks need a valid params.yaml")]
    valid = CheckResult("ok", "params.yaml", f"valid; {', '.join(settings.candidates)} on {settings.data.source}")
    return [valid, *_check_environment(settings)]


def _check_environment(settings: Params) -> list[CheckResult]:
    """All checks in parallel: most of them wait for a child process."""
    checks = (
        partial(versions.check, settings.frameworks),
        processor.check,
        libraries.check,
        partial(devices.check, settings),
        stores.check,
        partial(data.check, settings.data),
    )
    with ThreadPoolExecutor(len(checks)) as pool:
        futures = [pool.submit(function) for function in checks]
        return [result for future in futures for result in future.result()]


if __name__ == "__main__":
    stage.run(main, __doc__)
