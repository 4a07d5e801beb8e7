"""Stage `evaluate`: metrics, latency and plots of the exported graphs of one candidate."""

from pipelines.config import params
from pipelines.config.params import Evaluate
from pipelines.execution import candidate, garbage_collection, stage
from pipelines.tracking.runs import Tracker


def main() -> None:
    """Evaluate the candidate named on the command line."""
    name = candidate.from_command_line("evaluate").name
    settings = params.read()
    evaluate(name, settings.evaluate, settings.tracking.experiment)


def evaluate(name: str, config: Evaluate, experiment: str) -> None:
    """See `evaluation.evaluate`; the tracker imports MLflow while this process imports scikit-learn and Matplotlib."""
    tracker = Tracker(experiment)
    with garbage_collection.paused():
        from pipelines.evaluate import evaluation

    evaluation.evaluate(name, config, tracker)


if __name__ == "__main__":
    stage.run(main)
