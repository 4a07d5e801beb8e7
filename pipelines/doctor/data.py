"""Location of the data of `data.source`."""

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.doctor.check_result import CheckResult
from pipelines.sources import by_name


def check(config: DataSource) -> list[CheckResult]:
    """One result; nothing is downloaded and no file is read."""
    subject = f"data: {config.source}"
    try:
        location = by_name.module(config).find(config)
    except InputError as error:
        return [CheckResult("problem", subject, str(error))]
    if location is None:
        return [CheckResult("warning", subject, "not on this machine", "`load` downloads it, which requires a network")]
    return [CheckResult("ok", subject, f"in {location}")]
