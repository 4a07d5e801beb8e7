"""The precision `auto` of a training on a CPU: the faster one for the model and its batches.

It is measured where the processor has instructions for bfloat16 (AVX512-BF16, AMX), as their gain depends on the
model: on 8x8 images there was none, on 28x28 ones a convolutional network took 0.6 of the time.
"""

import math
import time
from collections.abc import Mapping

import numpy as np

from models.config import Train
from models.interfaces import Learner
from models.training.batches import Split, TrainingData, batch_count, changed, shuffled
from models.training.device import Device, Precision, has_bfloat16_instructions
from models.training.schedule import learning_rate
from models.training.workers import Workers

# Input values of all epochs. With fewer of them a training takes a few seconds, and the measurement up to two.
MINIMUM_VALUES = 50_000_000
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
WARM_UP = 2  # steps that are not measured: in the first one a framework compiles and allocates
ROUNDS = 3  # measured steps in each precision, at least
BUDGET = 0.5  # seconds for more of them
MAXIMUM_SHARE = 0.9  # of the time in float32 that bfloat16 may take; a smaller gain could differ from run to run


def is_measured(config: Train, train: Split, device: Device, workers: Workers) -> bool:
    """Whether `auto` depends on a measurement. Several workers use float32, as each might measure otherwise."""
    values = config.epochs_for(len(train)) * len(train) * math.prod(train.inputs.shape[1:])
    is_automatic = config.precision == "auto" and device.kind == "cpu" and workers.size == 1
    return is_automatic and values >= MINIMUM_VALUES and has_bfloat16_instructions()


def step_seconds(learners: Mapping[Precision, Learner], data: TrainingData, config: Train) -> Mapping[Precision, float]:
    """The shortest duration of a training step of each learner, in turns. Their weights change."""
    random = np.random.default_rng(config.seed)
    drawn = next(shuffled(data.train, config.batch_size, config.augment, random))
    batch = changed(data.train, drawn, config.augment, data.spec.outputs)
    steps = config.epochs_for(len(data.train)) * batch_count(data.train, config.batch_size)
    rate = learning_rate(0, steps, config.learning_rate, config.schedule)

    def seconds(learner: Learner) -> float:
        start = time.perf_counter()
        learner.train_batches([batch], [rate])
        learner.read_totals()  # waits for the step
        return time.perf_counter() - start

    for _ in range(WARM_UP):
        for learner in learners.values():
            seconds(learner)
    rounds: list[list[float]] = []
    end = time.perf_counter() + BUDGET
    while len(rounds) < ROUNDS or time.perf_counter() < end:
        rounds.append([seconds(learner) for learner in learners.values()])
    return dict(zip(learners, np.min(rounds, axis=0).tolist(), strict=True))


def with_faster(device: Device, seconds: Mapping[Precision, float]) -> Device:
    """The device with the precision that these durations of a step lead to."""
    is_faster = seconds["bfloat16"] <= MAXIMUM_SHARE * seconds["float32"]
    return device._replace(precision="bfloat16" if is_faster else "float32", step_seconds=seconds)


def devices(device: Device) -> dict[Precision, Device]:
    """The device in each precision of a CPU."""
    return {precision: device._replace(precision=precision) for precision in PRECISIONS}
