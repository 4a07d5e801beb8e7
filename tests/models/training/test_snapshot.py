"""A look into a model: the same numbers in both frameworks, and nothing changed by it."""

from typing import Any

import numpy as np
import pytest

from models.config import Train
from models.spec import DataSpec
from models.training.batches import Batch, TrainingData, evenly_spaced
from models.training.snapshot import Snapshot
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module

VARIANTS = {
    **CONFIGS,
    "mlp prelu": CONFIGS["mlp"].model_copy(update={"activation": "prelu"}),
    "resnet pre-activation": CONFIGS["resnet"].model_copy(update={"pre_activation": True, "normalization": "layer"}),
}


def inspect(framework: str, model: Any, batch: Batch, spec: DataSpec, config: Train) -> Snapshot:
    device = framework_module(framework, "device").choose(config)
    learner = framework_module(framework, "fit").Learner(model, config, device, np.ones(spec.outputs, np.float32))
    snapshot: Snapshot = learner.inspect(batch)
    return snapshot


@pytest.mark.parametrize("variant", VARIANTS)
def test_twins_with_the_same_weights_show_the_same(
    variant: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    architecture, batch = variant.split(maxsplit=1)[0], evenly_spaced(data.train, 64)
    models = {name: framework_module(name, architecture).build(spec, VARIANTS[variant]) for name in FRAMEWORKS}
    framework_module("keras", "store").set_weights(
        models["keras"], framework_module("torch", "store").get_weights(models["torch"])
    )
    torch, keras = (inspect(name, models[name], batch, spec, train_config) for name in FRAMEWORKS)
    assert list(torch.statistics()) == list(keras.statistics())
    assert {"gradient_norm/logits", "mean/logits", "std/logits", "zeros/logits", "dead/logits"} <= set(
        torch.statistics()
    )
    np.testing.assert_allclose(
        list(keras.statistics().values()), list(torch.statistics().values()), rtol=1e-4, atol=1e-4
    )
    for name, gradient in torch.gradients.items():
        np.testing.assert_allclose(keras.gradients[name], gradient, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_inspection_changes_nothing(framework: str, spec: DataSpec, data: TrainingData, train_config: Train) -> None:
    def fit(on_epoch: Any) -> dict[str, np.ndarray]:
        device = framework_module(framework, "device").choose(train_config)
        model = framework_module(framework, "cnn").build(spec, CONFIGS["cnn"])
        framework_module(framework, "fit").fit(model, data, train_config, device, on_epoch, lambda step: None)
        weights: dict[str, np.ndarray] = framework_module(framework, "store").get_weights(model)
        return weights

    batch = evenly_spaced(data.train, 64)
    seen = fit(lambda epoch, learner: (learner.inspect(batch), learner.predict(batch.inputs)))
    for name, array in fit(lambda epoch, learner: None).items():
        np.testing.assert_array_equal(seen[name], array, err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_dead_units_are_counted(framework: str, spec: DataSpec, data: TrainingData, train_config: Train) -> None:
    model, store = framework_module(framework, "mlp").build(spec, CONFIGS["mlp"]), framework_module(framework, "store")
    weights = store.get_weights(model)
    weights["dense_2/bias"][:4] = -1e6  # of 16
    store.set_weights(model, weights)
    numbers = inspect(framework, model, evenly_spaced(data.train, 64), spec, train_config).statistics()
    assert numbers["dead/activation_2"] == pytest.approx(0.25, abs=0.07)
    assert 0.25 <= numbers["zeros/activation_2"] < 1
    assert numbers["dead/logits"] == 0
