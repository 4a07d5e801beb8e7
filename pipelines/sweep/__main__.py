"""Hyperparameter search for one candidate: `python -m pipelines.sweep --framework torch --architecture cnn`.

Not a stage of the graph. It searches the parameters of the section `sweep` with Optuna, judges each trial on the
validation split, and changes neither the champion nor, without `--apply`, `params.yaml`.
"""

from models.errors import InputError
from pipelines.artifacts import training_data
from pipelines.config import compatibility, overrides, params
from pipelines.config.params import Params
from pipelines.execution import candidate, stage
from pipelines.execution.candidate import Candidate
from pipelines.sweep import apply, prepared, search
from pipelines.sweep.results import Result


def main() -> None:
    """Search for the candidate named on the command line."""
    parser = candidate.parser("sweep")
    parser.add_argument("--apply", action="store_true", help="write the best parameters into params.yaml")
    given = parser.parse_args()
    settings = params.read()
    chosen = Candidate(given.framework, given.architecture)
    compatibility.require_devices(settings)
    compatibility.require_engine(settings)
    overrides.require_sweep(settings)
    settings = settings.for_candidate(chosen.framework, chosen.architecture)
    require_compatible(chosen, settings)
    result = search.run(chosen, settings)
    print("\n".join(result.lines()), flush=True)
    if given.apply:
        apply_best(result)


def require_compatible(chosen: Candidate, settings: Params) -> None:
    """Raise InputError if the candidate is incompatible with parameters or data, or nothing of it is searched."""
    data = training_data.read()
    prepared.require_current(settings)
    config = settings.models.of(chosen.architecture)
    compatibility.require_trainable(chosen.framework, config, settings.train, data.spec, len(data.train))
    if not settings.sweep.space(chosen.architecture):
        allowed = f"those of train and models.{chosen.architecture}"
        raise InputError(f"{params.FILE}: sweep.parameters has none of {chosen.architecture}; allowed: {allowed}")


def apply_best(result: Result) -> None:
    """Write the best parameters into `params.yaml`, unless they are the current ones."""
    if result.is_current:
        print(f"{params.FILE}: unchanged", flush=True)
        return
    apply.write(result.parameters)
    print(f"{params.FILE}: {len(result.parameters)} parameters of trial {result.trial} written", flush=True)


if __name__ == "__main__":
    stage.run(main)
