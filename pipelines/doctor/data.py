"""Whether the data of `data.source` is here, or where it would come from."""

from models.errors import InputError
from pipelines.config.params import Params
from pipelines.doctor.finding import Finding
from pipelines.sources import by_name


def look(settings: Params) -> list[Finding]:
    """One line; nothing is downloaded and no file is read."""
    subject = f"data: {settings.data.source}"
    try:
        found = by_name.source(settings.data).find(settings.data)
    except InputError as error:
        return [Finding("problem", subject, str(error))]
    if found is None:
        return [Finding("warning", subject, "not on this machine", "`load` will download it, which needs a network")]
    return [Finding("ok", subject, f"in {found}")]
