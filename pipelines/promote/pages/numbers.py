"""Numbers as text."""

from collections.abc import Mapping
from typing import Any

from models.metrics.quality import formatted

NAMES = {"r2": "R²", "mae": "mean absolute error", "rmse": "root mean squared error", "roc_auc": "ROC AUC"}


def metric_name(metric: str) -> str:
    """The name of a metric in words."""
    return NAMES.get(metric, metric.replace("_", " "))


def with_interval(metrics: Mapping[str, float], metric: str) -> str:
    """A metric of the test split with its confidence interval, if it has one."""
    low, high = (metrics.get(f"{metric}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" [{formatted(low)}, {formatted(high)}]"
    return f"{formatted(metrics[metric])}{interval}"


def milliseconds(value: float | None) -> str:
    """Three significant digits; a dash where it was not measured."""
    if value is None:
        return "–"
    return f"{value:#.3g} ms" if value < 100 else f"{value:,.0f} ms"


def seconds(value: float) -> str:
    """Seconds, or minutes and seconds."""
    minutes, rest = divmod(round(value), 60)
    return f"{value:.1f} s" if round(value, 1) < 60 else f"{minutes} min {rest:02} s"


def kibibytes(size: int) -> str:
    """A size in KiB, or MiB."""
    return f"{size / 1024:,.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):,.1f} MiB"


def general(value: Any) -> str:
    """A value of a table or of the parameters."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return _decimal(value) if isinstance(value, float) else str(value)


def difference(value: float) -> str:
    """A difference, with its sign."""
    return _decimal(value, "+")


def _decimal(value: float, sign: str = "") -> str:
    """Five significant digits, and all those before the decimal point."""
    return f"{value:{sign}.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:{sign}.5g}"
