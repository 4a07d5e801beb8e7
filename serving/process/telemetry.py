"""BentoML's telemetry, off by default."""

import os

from bentoml._internal.utils.analytics import usage_stats


def disable() -> None:
    """Disable telemetry for this process and its children, unless BENTOML_DO_NOT_TRACK is set.

    `bentoml serve` reads and caches the variable before it imports the service, but sends nothing before that.
    """
    os.environ.setdefault(usage_stats.BENTOML_DO_NOT_TRACK, "True")
    usage_stats.do_not_track.cache_clear()
