"""Every path under `artifacts/`, named once, relative to the root of the workspace."""

from pathlib import Path

ARTIFACTS = Path("artifacts")
CHECKED = ARTIFACTS / "checked.txt"
DATA = ARTIFACTS / "data"
RAW = DATA / "raw"
SPEC = DATA / "spec.json"
DATA_REPORT = DATA / "report"
METRICS = ARTIFACTS / "metrics"
SUMMARY = ARTIFACTS / "metrics.json"
CHAMPION = ARTIFACTS / "champion"
REPORT = ARTIFACTS / "report.md"
PLOTS = ARTIFACTS / "plots"
TENSORBOARD = ARTIFACTS / "tensorboard"
DRIFT_REPORT = ARTIFACTS / "drift" / "report.html"


def split(name: str) -> Path:
    """The folder of one split (`train`, `validation`, `test`) with `inputs.npy` and `targets.npy`."""
    return DATA / name


def checkpoint(candidate: str) -> Path:
    """What `train` leaves: weights.npz, history.csv, layers.csv and run.json."""
    return ARTIFACTS / "checkpoints" / candidate


def exports(candidate: str) -> Path:
    """What `export` leaves: the ONNX graphs and a picture, the framework's own formats and parity.json."""
    return ARTIFACTS / "exports" / candidate


def metrics(candidate: str) -> Path:
    """The metrics file of one candidate."""
    return METRICS / f"{candidate}.json"


def plots(candidate: str) -> Path:
    """The folder of one candidate's plot data and pictures."""
    return PLOTS / candidate
