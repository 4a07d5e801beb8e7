"""Stage `train`: trains one architecture in one framework, with tracking."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from models import checkpoint
from models.config import ModelConfig, Train
from models.interfaces import FrameworkModel
from models.spec import DataSpec
from models.training import launchers, precision
from models.training.batches import TrainingData
from models.training.device import Device
from models.training.epoch import Epoch, best_epoch, stored_epoch
from models.training.launchers import Place
from models.training.loop import NotFiniteError
from models.training.recovery import Recovery, TrainingState
from models.training.workers import ALONE, Workers
from pipelines.artifacts import (
    history,
    layer_history,
    paths,
    training_data,
    training_record,
    validation_report,
)
from pipelines.artifacts.atomic import staged
from pipelines.config import compatibility, params
from pipelines.config.params import Params, Tracking
from pipelines.execution import candidate, stage
from pipelines.execution.banners import STDOUT, banners_hidden
from pipelines.execution.candidate import Candidate
from pipelines.tracking import provenance, runs
from pipelines.tracking.run import Run
from pipelines.train import local_workers, ray_workers, recovery
from pipelines.train.monitor import TrainingMonitor
from pipelines.train.progress import Display, outcome
from pipelines.train.recovery import Interrupted, StateFile


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, its history, that of its layers, and the duration of the training in seconds."""

    model: FrameworkModel
    history: list[Epoch]
    layers: list[layer_history.Row]
    device: Device
    seconds: float


def main() -> None:
    """Train the candidate named on the command line, by this process or by several workers."""
    chosen = candidate.from_command_line("train")
    settings = params.read().for_candidate(chosen.framework, chosen.architecture)
    place = launchers.read(chosen.framework, os.environ)
    command = ["-m", "pipelines.train", *sys.argv[1:]]
    if place is None and settings.run.engine == "ray":
        compatibility.require_engine(settings)
        ray_workers.train(command, chosen.framework, settings.train, settings.run.address)
        return
    if place is None and settings.train.workers > 1:
        local_workers.train(command, chosen.framework, settings.train.workers)
        return
    sections = logged_sections(settings, chosen.architecture)
    model_config = settings.models.of(chosen.architecture)
    train(chosen, model_config, settings.train, settings.tracking, sections, place or Place())


def logged_sections(settings: Params, architecture: str) -> dict[str, Any]:
    """The parameters that determine the model, as logged to its run."""
    sections = settings.model_dump(mode="json", include={"data": True, "prepare": True, "train": True, "models": True})
    models = sections.pop("models")
    return {**sections, architecture: models[architecture]}


def train(
    chosen: Candidate,
    model_config: ModelConfig,
    config: Train,
    tracking: Tracking,
    sections: Mapping[str, Any],
    place: Place,
) -> None:
    """Train, track and store one candidate. Raises InputError, before a run is started where possible.

    Of several workers only the first tracks and stores.
    """
    config.require_processes(place.size)
    data = training_data.read()
    compatibility.require_trainable(chosen.framework, model_config, config, data.spec, len(data.train))
    # Before the framework is imported.
    tracker = runs.Tracker(tracking.experiment) if place.rank == 0 else None
    data_sha256 = validation_report.read()["data_sha256"]
    tags = {**chosen.tags, **provenance.tags(), "data_sha256": data_sha256}
    device = chosen.framework_module("device").choose(config, place.local_rank)
    workers = connect(chosen, place, device)
    state_file = StateFile(chosen.name, recovery.fingerprint(chosen, {**sections, **tracking.model_dump()}, device))
    if interrupted := recovery.shared(workers, state_file, device):
        device = device._replace(precision=interrupted.precision, step_seconds=interrupted.step_seconds)
    elif precision.is_measured(config, data.train, device, workers):
        device = measured(chosen, model_config, data, config, device)
    if tracker is None:
        follow(chosen, model_config, data, config, device, interrupted, workers)
        return
    model = chosen.architecture_module().build(data.spec, model_config)
    started = tracker.start(chosen.name, tags, interrupted.run_id if interrupted else "")
    with started as run, staged(paths.TENSORBOARD, [chosen.name]) as partial:
        print(f"{chosen.name}: {environment(device, place)}", flush=True)
        log_inputs(run, sections, device, data.spec)
        with closing(chosen.framework_module("board").EventWriter(partial / chosen.name)) as events:
            epochs = config.epochs_for(len(data.train))
            monitor = TrainingMonitor(run, events, data, epochs, tracking.histograms)
            trained = fit(chosen, model, data, config, device, monitor, state_file, interrupted, workers)
        run.log_params({"train": {"epochs": len(trained.history)}})
        record = {"run_id": run.id, "candidate": chosen.name, **tags, **summary(chosen, trained, config)}
        record["git_dirty"] = tags["git_dirty"] == "true"
        record |= {"params": dict(sections), "versions": provenance.installed(provenance.PACKAGES[chosen.framework])}
        write_checkpoint(chosen, trained, record)
        run.log_once({name: record[name] for name in ("best_epoch", "stored_epoch")})
        run.log_artifact(paths.checkpoint(chosen.name) / history.FILE)
    workers.wait()
    print(f"{chosen.name}: {outcome(trained.history, trained.seconds)}", flush=True)


def measured(chosen: Candidate, model_config: ModelConfig, data: TrainingData, config: Train, device: Device) -> Device:
    """The device with the faster precision; the random generators are those of a new process afterwards."""
    build = partial(chosen.architecture_module().build, data.spec, model_config)
    seconds = chosen.framework_module("fit").step_seconds(build, data, config, device)
    chosen.framework_module("device").choose(config)
    return precision.with_faster(device, seconds)


def environment(device: Device, place: Place) -> str:
    """Workers, device, precision and the measured durations of a step, for the log."""
    workers = f"with {place.size} workers, each " if place.size > 1 else ""
    times = ", ".join(f"{seconds * 1000:.1f} ms in {name}" for name, seconds in device.step_seconds.items())
    measured = f"; measured for a step: {times}" if times else ""
    return f"training {workers}on {device.name} in {device.precision}{measured}"


def connect(chosen: Candidate, place: Place, device: Device) -> Workers:
    """Connect to the other workers, if any."""
    if place.size == 1:
        return ALONE
    module = chosen.framework_module("workers")
    with banners_hidden(STDOUT), banners_hidden():
        return module.join(place, device)


def follow(
    chosen: Candidate,
    model_config: ModelConfig,
    data: TrainingData,
    config: Train,
    device: Device,
    interrupted: Interrupted | None,
    workers: Workers,
) -> None:
    """Train as another worker than 0, which records and stores nothing."""
    model = chosen.architecture_module().build(data.spec, model_config)
    progress = Recovery(interrupted.state if interrupted else None)
    module = chosen.framework_module("fit")
    module.fit(model, data, config, device, lambda *_: None, lambda _: None, progress, workers)
    workers.wait()


def log_inputs(run: Run, sections: Mapping[str, Any], device: Device, spec: DataSpec) -> None:
    """Log parameters, device and data. The number of epochs is only known after the training."""
    training = {name: value for name, value in sections["train"].items() if name != "epochs"}
    run.log_params({**sections, "train": training})
    run.set_tags({"device": device.kind, "device_name": device.name, "precision": device.precision})
    if device.reason:
        run.set_tags({"device_reason": device.reason})
    run.log_once({f"step_ms/{name}": seconds * 1000 for name, seconds in device.step_seconds.items()})
    for split in ("train", "validation"):
        run.log_dataset(spec, split, paths.split(split))


def fit(
    chosen: Candidate,
    model: FrameworkModel,
    data: TrainingData,
    config: Train,
    device: Device,
    monitor: TrainingMonitor,
    state_file: StateFile,
    interrupted: Interrupted | None,
    workers: Workers,
) -> TrainedModel:
    """Fit the model, or continue an interrupted training; each epoch is displayed, recorded and stored."""
    monitor.start(model)
    before = interrupted.seconds if interrupted else 0.0
    if interrupted:
        monitor.restore(interrupted.state.history, interrupted.layers)
        place = f"after epoch {interrupted.epochs} of {monitor.epochs}"
        print(f"{chosen.name}: resuming {place}, run {monitor.run.id}", flush=True)
    if monitor.epochs > config.epochs:
        print(f"{chosen.name}: {monitor.epochs} epochs for train.minimum_steps = {config.minimum_steps}", flush=True)
    start = time.perf_counter()
    with closing(Display(chosen.name, monitor.epochs)) as display:

        def record() -> None:
            for epoch in monitor.record():
                display.epoch(epoch)

        def seconds() -> float:
            return before + time.perf_counter() - start

        def store_state(state: Callable[[], TrainingState]) -> None:
            chosen_precision = device.precision, device.step_seconds
            state_file.write(Interrupted(monitor.run.id, *chosen_precision, seconds(), monitor.layers, state()))
            record()  # not before: what is recorded is not trained again

        progress = Recovery(interrupted.state if interrupted else None, store_state)
        try:
            module = chosen.framework_module("fit")
            epochs = module.fit(model, data, config, device, monitor.inspect, display.step, progress, workers)
            display.finish()
        except NotFiniteError:
            record()
            state_file.delete()  # it would end in the same way again
            raise
    return TrainedModel(model, epochs, monitor.layers, device, seconds())


def summary(chosen: Candidate, trained: TrainedModel, config: Train) -> dict[str, Any]:
    """Values of the training record, JSON-ready."""
    return {
        "device": trained.device.kind,
        "precision": trained.device.precision,
        "step_ms": {name: round(seconds * 1000, 3) for name, seconds in trained.device.step_seconds.items()},
        "seconds": round(trained.seconds, 3),
        "parameters": chosen.framework_module("store").parameters(trained.model),
        "epochs": len(trained.history),
        "best_epoch": best_epoch(trained.history).epoch,
        "stored_epoch": stored_epoch(trained.history, config).epoch,
    }


def write_checkpoint(chosen: Candidate, trained: TrainedModel, record: Mapping[str, Any]) -> None:
    """Write weights, histories and the training record together."""
    target = paths.checkpoint(chosen.name)
    with staged(target.parent, [target.name]) as partial:
        folder = partial / target.name
        folder.mkdir()
        chosen.framework_module("store").save(trained.model, folder / checkpoint.FILE)
        history.write(trained.history, folder / history.FILE)
        layer_history.write(trained.layers, folder / layer_history.FILE)
        training_record.write(record, folder / training_record.FILE)


if __name__ == "__main__":
    stage.run(main)
