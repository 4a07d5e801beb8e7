"""BentoML reports its use to its makers unless told not to. Here it is told not to, unless the user says otherwise."""

import os

from bentoml._internal.utils.analytics import usage_stats


def silence() -> None:
    """Switch the reports off for this process and its children; an explicit BENTOML_DO_NOT_TRACK wins.

    `bentoml serve` reads the variable, and remembers the answer, before it imports the service. So the
    answer has to be forgotten too; nothing is sent before the service has been imported.
    """
    os.environ.setdefault(usage_stats.BENTOML_DO_NOT_TRACK, "True")
    usage_stats.do_not_track.cache_clear()
