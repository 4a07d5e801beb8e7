"""Train and export in one process, without MLflow: `python -m tests.train_and_export FRAMEWORK ARCHITECTURE...`."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from models.config import Framework
from models.spec import DataSpec
from models.training.batches import Split, TrainingData
from pipelines.artifacts import paths, split_files
from pipelines.artifacts.hashing import hash_files
from pipelines.cli.candidate import Candidate
from pipelines.config import params
from pipelines.export import __main__ as export


def train_and_export(framework: Framework, architecture: str) -> str:
    """The SHA-256 of the ONNX file, trained on the data of the working directory."""
    chosen, settings, spec = Candidate(framework, architecture), params.read(), DataSpec.read(paths.SPEC)
    device = chosen.framework_module("device").choose(settings.train)
    model = chosen.architecture_module().build(spec, settings.models.of(architecture))
    train, validation = (Split(*split_files.read(paths.split(name))) for name in ("train", "validation"))
    data = TrainingData(train, validation, spec)
    fit = chosen.framework_module("fit").fit
    fit(model, data, settings.train, device, lambda epoch, learner: None, lambda step: None)
    temperature = export.fit_temperature(chosen.framework_module("export").predictor(model, spec), spec)
    export.divide_logits(chosen, model, temperature or 1.0)
    with TemporaryDirectory() as folder:
        chosen.framework_module("export").export(model, spec, Path(folder))
        return hash_files([Path(folder) / "model.onnx"])


if __name__ == "__main__":
    framework, *architectures = sys.argv[1:]
    print(json.dumps([train_and_export(framework, architecture) for architecture in architectures]))  # type: ignore[arg-type]
