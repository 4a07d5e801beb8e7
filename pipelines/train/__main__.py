"""Stage `train`: one framework, one architecture, one process: `python -m pipelines.train`."""

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import checkpoint
from models.batches import Data, Split
from models.config import ModelConfig, Train
from models.device import Device
from models.epoch import Epoch, best_epoch
from models.interfaces import FrameworkModel, Learner
from models.spec import DataSpec
from pipelines.artifacts import history, layer_history, paths, split_files, training_record, validation_report
from pipelines.artifacts.atomic import staged
from pipelines.cli import candidate, stage
from pipelines.cli.candidate import Candidate
from pipelines.config import params
from pipelines.config.params import Params
from pipelines.tracking import logged_models, provenance, runs, store
from pipelines.tracking.runs import Run
from pipelines.train import monitor
from pipelines.train.monitor import Watch
from pipelines.train.progress import Display


@dataclass(frozen=True)
class Trained:
    """A trained model, its history, that of its layers and what it cost in seconds."""

    model: FrameworkModel
    history: list[Epoch]
    layers: list[layer_history.Row]
    device: Device
    seconds: float


def main() -> None:
    """Train, track and store one candidate. Raises InputError, before a run is made where it can be known before."""
    chosen = candidate.from_command_line("train")
    settings = params.read()
    spec = DataSpec.read(paths.SPEC)
    config = settings.models.of(chosen.architecture)
    require_fit(config, settings.train, chosen, spec)
    data_sha256 = validation_report.read(paths.DATA_REPORT / validation_report.FILE)["data_sha256"]
    tags = {**chosen.tags, **provenance.tags(), "data_sha256": data_sha256}
    store.require_reachable()
    device = chosen.framework_module("device").choose(settings.train)
    print(f"{chosen.name}: training on {device.name} in {device.precision}", flush=True)
    begun = runs.start(settings.tracking.experiment, chosen.name, tags)
    with begun as run, staged(paths.TENSORBOARD, [chosen.name]) as beside:
        describe(run, settings, chosen, device, spec, data_sha256)
        model = chosen.architecture_module().build(spec, config)
        trained = train(model, spec, settings, chosen, device, run, beside / chosen.name)
        record = {"run_id": run.id, "candidate": chosen.name, **tags, **summary(trained, chosen)}
        record["git_dirty"] = tags["git_dirty"] == "true"
        write_checkpoint(trained, chosen, record)
        run.log_artifact(paths.checkpoint(chosen.name) / history.FILE)
        logged_models.log_native(trained.model, chosen.framework, spec, spec.example(2), f"{run.name}-native")
    print(f"{chosen.name}: {len(trained.history)} epochs in {trained.seconds:.1f} s", flush=True)


def require_fit(config: ModelConfig, settings: Train, chosen: Candidate, spec: DataSpec) -> None:
    """Raise InputError where architecture, training, framework and data do not fit each other."""
    settings.require_framework(chosen.framework)
    config.require_fit(spec)
    settings.require_fit(spec)
    config.require_batches(spec, settings.batch_size, len(open_split("train")))


def describe(run: Run, settings: Params, chosen: Candidate, device: Device, spec: DataSpec, data_sha256: str) -> None:
    """Log parameters, the device really used and the data."""
    sections = settings.model_dump(mode="json", include={"data", "prepare", "train"})
    sections[chosen.architecture] = settings.models.model_dump(mode="json")[chosen.architecture]
    run.log_params(sections)
    run.set_tags({"device": device.kind, "device_name": device.name, "precision": device.precision})
    for split in ("train", "validation"):
        run.log_dataset(spec, split, paths.split(split), data_sha256)


def train(
    model: FrameworkModel,
    spec: DataSpec,
    settings: Params,
    chosen: Candidate,
    device: Device,
    run: Run,
    folder: Path,
) -> Trained:
    """Fit the model, showing and logging each epoch as it ends; TensorBoard's file is written into `folder`."""
    learned, watched = (open_split(name).standardised(spec) for name in ("train", "validation"))
    data = Data(learned, watched, spec)
    with closing(chosen.framework_module("board").EventWriter(folder)) as events:
        monitor.introduce(events, model, spec, data)
        watching = Watch(run, events, spec, data, settings.train.epochs_for(len(learned)), settings.tracking.histograms)
        start = time.perf_counter()
        epochs = fit(model, data, settings.train, chosen, device, watching)
        return Trained(model, epochs, watching.layers, device, time.perf_counter() - start)


def open_split(name: str) -> Split:
    """Inputs and targets of a split, memory-mapped."""
    return Split(*split_files.read(paths.split(name)))


def fit(
    model: FrameworkModel, data: Data, config: Train, chosen: Candidate, device: Device, watching: Watch
) -> list[Epoch]:
    """The epochs of a training, each shown as it ends."""
    epochs = config.epochs_for(len(data.train))
    if epochs > config.epochs:
        print(f"{chosen.name}: {epochs} epochs for train.minimum_steps = {config.minimum_steps}", flush=True)
    display = Display(chosen.name, epochs)

    def on_epoch(epoch: Epoch, learner: Learner) -> None:
        watching.epoch(epoch, learner)
        display.epoch(epoch)

    try:
        return chosen.framework_module("fit").fit(model, data, config, device, on_epoch, display.step)
    finally:
        display.close()


def summary(trained: Trained, chosen: Candidate) -> dict[str, Any]:
    """What a reader of the checkpoint wants to know, JSON-ready."""
    return {
        "device": trained.device.kind,
        "precision": trained.device.precision,
        "seconds": round(trained.seconds, 3),
        "parameters": chosen.framework_module("store").parameters(trained.model),
        "best_epoch": best_epoch(trained.history).epoch,
    }


def write_checkpoint(trained: Trained, chosen: Candidate, record: dict[str, Any]) -> None:
    """Write weights, histories and record, all or nothing."""
    target = paths.checkpoint(chosen.name)
    with staged(target.parent, [target.name]) as folder:
        (folder / target.name).mkdir()
        chosen.framework_module("store").save(trained.model, folder / target.name / checkpoint.FILE)
        history.write(trained.history, folder / target.name / history.FILE)
        layer_history.write(trained.layers, folder / target.name / layer_history.FILE)
        training_record.write(record, folder / target.name / training_record.FILE)


if __name__ == "__main__":
    stage.run(main)
