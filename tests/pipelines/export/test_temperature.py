import numpy as np
import pytest
from scipy.special import softmax

from models.errors import InputError
from models.metrics.outputs import from_logits
from pipelines.export import temperature
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module
from tests.pipelines import synthetic


def drawn(true: float, examples: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [N, 5] and targets int64 [N] drawn from the probabilities that they have at a temperature."""
    random = np.random.default_rng(0)
    logits = (3 * random.normal(size=(examples, 5))).astype(np.float32)
    edges = softmax(logits.astype(np.float64) / true, axis=1).cumsum(axis=1)
    return logits, (random.uniform(size=(examples, 1)) > edges).sum(axis=1)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_the_temperature_of_the_targets_is_found(true: float) -> None:
    assert temperature.fit(*drawn(true)) == pytest.approx(true, rel=0.03)


def test_logits_far_from_zero_do_not_matter() -> None:
    logits, targets = drawn(0.8)
    assert temperature.fit(logits + 1000, targets) == pytest.approx(temperature.fit(logits, targets), abs=1e-3)


def test_where_all_examples_are_right_confidence_stays_below_certainty() -> None:
    targets = np.arange(269) % 10
    logits = 4 * np.eye(10, dtype=np.float32)[targets]
    confidence = softmax(logits / temperature.fit(logits, targets), axis=1).max()
    assert 1 - 1 / 269 < confidence < 1 - 0.3 / 269  # half an example more, of unknown class


def test_the_order_of_the_classes_stays_the_same() -> None:
    logits, _ = drawn(1.0, examples=500)
    outputs = from_logits(logits, synthetic.SPEC, 0.37)
    np.testing.assert_array_equal(outputs.argmax(1), logits.argmax(1))
    np.testing.assert_allclose(outputs, softmax(logits / 0.37, axis=1), atol=1e-6)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_scaled_weights_divide_the_logits_of_every_architecture(framework: str, architecture: str) -> None:
    model = framework_module(framework, architecture).build(synthetic.SPEC, CONFIGS[architecture])
    store, images = framework_module(framework, "store"), synthetic.digits()["test"][0][:7]
    predict = framework_module(framework, "export").predictor(model, synthetic.SPEC)
    before, weights = predict(images), store.get_weights(model)
    store.set_weights(model, temperature.scale_weights(weights, 0.37))
    np.testing.assert_allclose(predict(images), before / 0.37, rtol=1e-4, atol=1e-5)


def test_a_model_without_a_layer_of_logits_is_refused() -> None:
    with pytest.raises(InputError, match="no layer called 'logits'"):
        temperature.scale_weights({"dense/kernel": np.ones((2, 2))}, 2.0)
