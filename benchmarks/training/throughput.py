"""Images per second in training and evaluation: each twin against a plain loop of its framework, same model and batch.

The plain loop of torch uses a DataLoader and reads the loss of each step; that of Keras is `fit` and `evaluate`.
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks.training import twins
from benchmarks.training.fashion import Fashion
from models.config import Framework
from models.training import loop
from models.training.batches import Batch, in_order

BATCH = 128
Rates = dict[str, float]


def twin(framework: Framework, data: Fashion, seconds: float) -> tuple[str, Rates]:
    """Tandem: the precision, and whole epochs of its training loop, and its validation."""
    made, examples = twins.build(framework, data, 0), twins.splits(data)
    learner = made.learner(examples)
    config = made.config.model_copy(update={"epochs": 1, "minimum_steps": 0})
    batches = list(in_order(examples.train, BATCH))
    rates = _rates(
        lambda: loop.run(learner, examples, config, lambda *_: None, lambda _: None),
        lambda: _validate(learner.validate_batch, learner.read_totals, batches),
        len(data.labels),
        seconds,
    )
    return made.device.precision, rates


def plain_torch(data: Fashion, seconds: float) -> Rates:
    """A loop as in PyTorch's tutorial."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model = twins.build("torch", data, 0).model
    optimizer, loss = torch.optim.AdamW(model.parameters(), 0.01), torch.nn.CrossEntropyLoss(label_smoothing=0.05)
    examples = TensorDataset(torch.from_numpy(data.images), torch.from_numpy(data.labels))

    def train() -> None:
        model.train()
        for images, labels in DataLoader(examples, BATCH, shuffle=True):
            optimizer.zero_grad()
            value = loss(model(images), labels)
            value.backward()
            optimizer.step()
            value.item()

    @torch.no_grad()
    def evaluate() -> None:
        model.eval()
        for images, labels in DataLoader(examples, BATCH):
            outputs = model(images)
            loss(outputs, labels).item()
            (outputs.argmax(1) == labels).sum().item()

    return _rates(train, evaluate, len(data.labels), seconds)


def plain_keras(data: Fashion, seconds: float) -> Rates:
    """`fit` and `evaluate`."""
    import keras

    model = twins.build("keras", data, 0).model
    model.compile(
        optimizer=keras.optimizers.AdamW(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return _rates(
        lambda: model.fit(data.images, data.labels, batch_size=BATCH, verbose=0),
        lambda: model.evaluate(data.images, data.labels, batch_size=BATCH, verbose=0),
        len(data.labels),
        seconds,
    )


def _validate(validate: Callable[[Batch], None], read: Callable[[], object], batches: list[Batch]) -> None:
    for batch in batches:
        validate(batch)
    read()


def _rates(train: Callable[[], object], evaluate: Callable[[], object], images: int, seconds: float) -> Rates:
    return {
        f"{name}{unit}": value
        for name, function in (("training", train), ("evaluation", evaluate))
        for unit, value in zip(("", "_cpu"), _per_second(function, images, seconds), strict=True)
    }


def _per_second(function: Callable[[], object], images: int, seconds: float) -> tuple[float, float]:
    """Median images per second of passes for at least `seconds`, by wall and CPU time, after one warm-up pass."""
    function()
    passes: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while not passes or time.perf_counter() < end:
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        passes.append((images / (time.perf_counter() - wall), images / (time.process_time() - cpu)))
    rates = np.median(passes, axis=0)
    return float(rates[0]), float(rates[1])
