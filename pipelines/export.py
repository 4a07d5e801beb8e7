"""Stage `export`: files for other runtimes, each proved equal to the trained model: `python -m pipelines.export`."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.batches import Split
from models.spec import DataSpec
from pipelines import candidate, params, parity, paths, runtime, stage
from pipelines.params import Export
from pipelines.parity import Predict
from pipelines.staging import staged


def main() -> None:
    """Export one candidate and prove every file. Raises InputError; then nothing is left behind."""
    chosen = candidate.from_command_line("export")
    settings = params.read()
    spec = DataSpec.read(paths.SPEC)
    model = chosen.room(chosen.architecture).build(spec, getattr(settings.models, chosen.architecture))
    chosen.room("store").load(model, paths.checkpoint(chosen.name) / "weights.npz")
    target = paths.exports(chosen.name)
    with staged(target.parent, [target.name]) as beside:
        folder = beside / target.name
        folder.mkdir()
        chosen.room("export").export(model, spec, folder)
        predictors = chosen.room("export").predictors(model, spec, folder)
        predictors["model.onnx"] = partial(runtime.run, runtime.open_session(folder / "model.onnx", "cpu"))
        proof = prove(predictors, folder, settings.export)
        proof = {"candidate": chosen.name, **proof}
        (folder / "parity.json").write_text(json.dumps(proof, indent=2) + "\n", "utf-8")
    report(proof)


def prove(predictors: dict[str, Predict], folder: Path, config: Export) -> dict[str, Any]:
    """Compare every predictor with that called `trained`; the content of parity.json.

    Raises InputError for the first file that is beyond the tolerances.
    """
    trained = predictors.pop("trained")
    validation = Split.open(paths.split("validation"))
    count = min(config.examples, len(validation))
    inputs, targets = np.array(validation.inputs[:count]), np.array(validation.targets[:count])
    files = {}
    for name, predict in predictors.items():
        found = parity.compare(trained, predict, inputs, targets, config.absolute_tolerance)
        parity.require(found, name, config)
        files[name] = parity.describe(folder / name, found)
    return {"passed": True, "examples": count, "batches": parity.BATCHES, "files": files}


def report(proof: dict[str, Any]) -> None:
    """A line for each file."""
    for name, facts in proof["files"].items():
        print(
            f"{proof['candidate']}: {name} differs by {facts['max_absolute_difference']:.2e} at most over "
            f"{proof['examples']} examples, {facts['bytes']:,} bytes",
            flush=True,
        )


if __name__ == "__main__":
    stage.run(main)
