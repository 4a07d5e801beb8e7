"""One trial: a training with the values of the trial, as the stage `train` would make it, judged on validation data."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Trial, TrialPruned

from models.errors import InputError
from models.interfaces import FrameworkModel, Learner, Predict
from models.metrics.outputs import from_logits
from models.metrics.quality import METRICS, formatted
from models.training.batches import in_order
from models.training.device import Device
from models.training.epoch import Epoch, Progress
from models.training.loop import NotFiniteError
from pipelines.artifacts import paths, split_files, training_data
from pipelines.config import compatibility, overrides
from pipelines.config.params import Params
from pipelines.execution.candidate import Candidate
from pipelines.sweep import space, studies
from pipelines.sweep.latency import LatencyLimit
from pipelines.tracking.run import Run

StartRun = Callable[[str, Mapping[str, str]], AbstractContextManager[Run]]  # of a name and tags


class Objective:
    """Trains one model for each trial. The data is opened once; `folder` takes the outputs of the best models."""

    def __init__(self, chosen: Candidate, settings: Params, start_run: StartRun, folder: Path) -> None:
        self.chosen = chosen
        self.settings = settings
        self.start_run = start_run
        self.folder = folder
        self.data = training_data.read()
        self.targets = np.asarray(split_files.read(paths.split("validation"))[1])
        self.metric_name = settings.promote.metric_for(self.data.spec.task)
        self.metric = METRICS[self.metric_name]
        self.space = settings.sweep.space(chosen.architecture)
        self.latency = LatencyLimit(chosen, settings, self.data)
        # Imported and initialised before the first trial: torch's first choice of a device takes two seconds.
        self.architecture = chosen.architecture_module()
        self.device_module = chosen.framework_module("device")
        self.device_module.choose(settings.train)
        self.fit = chosen.framework_module("fit").fit
        self.store = chosen.framework_module("store")
        self.predictor = chosen.framework_module("export").predictor

    def __call__(self, trial: Trial) -> float:
        """The metric of the trained model on the validation split. Raises TrialPruned."""
        values = self._values(trial)
        trial.set_user_attr(studies.VALUES, values)
        tags = {**self.chosen.tags, "trial": str(trial.number)}
        with self.start_run(f"{self.chosen.name} trial {trial.number}", tags) as run:
            run.log_params(values)
            try:
                value = self._train(trial, values, run)
            except TrialPruned as pruned:
                trial.set_user_attr(studies.REASON, str(pruned))
                run.set_tags({"trial_state": "pruned", "trial_reason": str(pruned)})
                reason = pruned
            else:
                run.set_tags({"trial_state": "complete"})
                run.log_metrics({self.metric_name: value})
                return value
        raise reason

    def _values(self, trial: Trial) -> dict[str, Any]:
        if not trial.user_attrs.get(studies.CURRENT):
            return space.suggest(trial, self.space)
        current = {name: overrides.value_of(self.settings, name) for name in self.space}
        return space.register(trial, self.space, current)

    def _train(self, trial: Trial, values: Mapping[str, Any], run: Run) -> float:
        """The metric of the trained model. Raises TrialPruned, also if the memory does not suffice."""
        settings = self._settings(values)
        try:
            self.latency.require(trial, settings)
            model, device = self._build(settings)
            self._require_size(trial, model)
            self._fit(trial, model, settings, device, run)
            return self._judge(trial, model)
        except Exception as error:
            if self.device_module.is_out_of_memory(error):
                raise TrialPruned(f"out of memory: {studies.described(error)}") from error
            raise

    def _fit(self, trial: Trial, model: FrameworkModel, settings: Params, device: Device, run: Run) -> None:
        """Train the model. Raises TrialPruned after an epoch if it is worse than the median, or if it diverges."""
        reported: list[float] = []

        def on_epoch(epoch: Epoch, learner: Learner) -> None:
            values = {f"epoch/{name}": value for name, value in epoch.values().items() if name != "epoch"}
            run.log_once(values, epoch.epoch)
            reported.append(self._value(epoch, learner))
            self._report(trial, epoch.epoch, settings, reported)

        start = time.perf_counter()
        try:
            self.fit(model, self.data, settings.train, device, on_epoch, _ignore)
        except NotFiniteError as error:
            raise TrialPruned(str(error)) from error
        finally:
            trial.set_user_attr("training_seconds", round(time.perf_counter() - start, 3))

    def _report(self, trial: Trial, epoch: int, settings: Params, values: Sequence[float]) -> None:
        """Report the metric after an epoch, the last of `values`; after the warm-up the trial may be pruned.

        That of the current parameters is not. The best value so far is what Optuna compares with the median.
        """
        trial.report(values[-1], epoch)
        epochs = settings.train.epochs_for(len(self.data.train))
        is_judged = epoch > settings.sweep.warmup * epochs and not trial.user_attrs.get(studies.CURRENT)
        if is_judged and trial.should_prune():
            best = (max if self.metric.higher_is_better else min)(values)
            place = f"up to epoch {epoch} of {epochs}"
            raise TrialPruned(f"best {self.metric_name} {formatted(best)} {place}: worse than the median")

    def _settings(self, values: Mapping[str, Any]) -> Params:
        """Raises TrialPruned if the values are incompatible with each other or with the data."""
        spec, count = self.data.spec, len(self.data.train)
        try:
            settings = overrides.replace(self.settings, values)
            config = settings.models.of(self.chosen.architecture)
            compatibility.require_trainable(self.chosen.framework, config, settings.train, spec, count)
        except InputError as error:
            raise TrialPruned(str(error)) from error
        return settings

    def _build(self, settings: Params) -> tuple[FrameworkModel, Device]:
        """A new model, seeded as by the stage `train`."""
        device = self.device_module.choose(settings.train)
        config = settings.models.of(self.chosen.architecture)
        return self.architecture.build(self.data.spec, config), device

    def _require_size(self, trial: Trial, model: FrameworkModel) -> None:
        count, limit = self.store.parameters(model), self.settings.sweep.maximum_parameters
        trial.set_user_attr("parameters", count)
        if limit is None:
            return
        trial.set_constraint("parameters", count / limit - 1)
        if count > limit:
            raise TrialPruned(f"{count:,} parameters > sweep.maximum_parameters = {limit:,}")

    def _value(self, epoch: Epoch, learner: Learner) -> float:
        """The metric after an epoch; the training has computed some metrics already."""
        recorded = epoch.values().get(f"validation_{self.metric_name}")
        return self.metric(self._outputs(learner.predict), self.targets) if recorded is None else recorded

    def _judge(self, trial: Trial, model: FrameworkModel) -> float:
        """The metric of a trained model, whose outputs are kept if no earlier trial is better."""
        outputs = self._outputs(self.predictor(model, self.data.spec))
        value = self.metric(outputs, self.targets)
        others = [studies.value(other) for other in studies.complete(trial.study)]
        if trial.user_attrs.get(studies.CURRENT) or all(self.metric.advantage(value, other) >= 0 for other in others):
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(outputs_file(self.folder, trial.number), outputs)
        return value

    def _outputs(self, predict: Predict) -> np.ndarray:
        """Probabilities [N, K] or predictions [N, 1] of the validation split, float32."""
        batches = in_order(self.data.validation, self.settings.train.batch_size)
        return from_logits(np.concatenate([predict(batch.inputs) for batch in batches]), self.data.spec)


def outputs_file(folder: Path, trial: int) -> Path:
    """The file of a trial's outputs for the validation split."""
    return folder / f"outputs-{trial}.npy"


def _ignore(_: Progress) -> None:
    """Show no steps."""
