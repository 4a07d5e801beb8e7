"""Every path under `artifacts/`, and of the state of a training, named once, relative to the root of the workspace."""

from pathlib import Path

ARTIFACTS = Path("artifacts")
CHECKED = ARTIFACTS / "checked.txt"
DATA = ARTIFACTS / "data"
RAW = DATA / "raw"
SPEC = DATA / "spec.json"
DATA_REPORT = DATA / "report"
METRICS = ARTIFACTS / "metrics"
PREDICTIONS = ARTIFACTS / "predictions"
SUMMARY = ARTIFACTS / "metrics.json"
CHAMPION = ARTIFACTS / "champion"
ERRORS = ARTIFACTS / "errors"
REPORT = ARTIFACTS / "report.md"
HTML_REPORT = ARTIFACTS / "report.html"
MODEL_CARD = ARTIFACTS / "model-card.md"
PLOTS = ARTIFACTS / "plots"
GRAPH_SVG = "graph.svg"  # drawing of the exported graph, in the folder of `exports`
PICTURES = "pictures"  # folder of the PNG files among the plots of a candidate
COMPARISON = PLOTS / "comparison.png"
LEARNING_CURVES = PLOTS / "learning_curves.csv"
TENSORBOARD = ARTIFACTS / "tensorboard"
TRAINING_STATES = Path(".dvc") / "tmp" / "tandem" / "resume"
DRIFT_REPORT = ARTIFACTS / "drift" / "report.html"


def split(name: str) -> Path:
    """The folder of one split (`train`, `validation`, `test`)."""
    return DATA / name


def sweep(candidate: str) -> Path:
    """The folder that the sweep of one candidate writes."""
    return ARTIFACTS / "sweep" / candidate


def checkpoint(candidate: str) -> Path:
    """The folder that `train` writes."""
    return ARTIFACTS / "checkpoints" / candidate


def training_state(candidate: str) -> Path:
    """The folder of the state from which `train` continues after an interruption; DVC does not know it."""
    return TRAINING_STATES / candidate


def exports(candidate: str) -> Path:
    """The folder that `export` writes."""
    return ARTIFACTS / "exports" / candidate


def metrics(candidate: str) -> Path:
    """The metrics file of one candidate."""
    return METRICS / f"{candidate}.json"


def validation_outputs(candidate: str) -> Path:
    """The outputs of the graphs of one candidate for the validation split."""
    return PREDICTIONS / f"{candidate}.npz"


def errors(candidate: str) -> Path:
    """The JSON file of the test examples with the largest errors of one candidate, with their inputs."""
    return ERRORS / f"{candidate}.json"


def plots(candidate: str) -> Path:
    """The folder of the plots of one candidate: CSV files by kind, and PICTURES."""
    return PLOTS / candidate
