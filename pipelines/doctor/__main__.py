"""Whether this machine can do what `params.yaml` asks for: `python -m pipelines.doctor`. Changes nothing.

A line for each thing: `ok`, `warning` or `problem`, what was found, what to do. Exit status 1 with a problem.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from models.errors import InputError
from pipelines.cli import stage
from pipelines.config import compatibility, params
from pipelines.config.params import Params
from pipelines.doctor import computing, data, libraries, processor, stores, versions
from pipelines.doctor.finding import Finding

CHECKS = (versions.look, processor.look, libraries.look, computing.look, stores.look, data.look)


def main() -> None:
    """Print all findings in their order; exit with 1 where one is a problem."""
    findings = examine()
    for finding in findings:
        print(finding)
    if any(finding.status == "problem" for finding in findings):
        sys.exit(1)


def examine() -> list[Finding]:
    """The findings of all checks, which run side by side: most of them wait for processes of their own."""
    try:
        settings = params.read()
        compatibility.require_compatible(settings)
    except InputError as error:
        return [Finding("problem", "params.yaml", str(error), "nothing else can be judged before that is mended")]
    read = Finding("ok", "params.yaml", f"valid; {', '.join(settings.candidates)} on {settings.data.source}")
    return [read, *_all(settings)]


def _all(settings: Params) -> list[Finding]:
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        parts = pool.map(lambda look: look(settings), CHECKS)
        return [finding for part in parts for finding in part]


if __name__ == "__main__":
    stage.run(main)
