"""The first layer of a table: the same numbers in both frameworks, in every exported file, and by hand."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models.config import Augment, Train
from models.errors import InputError
from models.metrics.outputs import from_logits
from models.spec import DataSpec
from models.training.batches import Split, TrainingData, changed, shuffled
from pipelines.export import __main__ as export
from pipelines.export.reader import READERS
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module
from tests.models.readers import Readers

NAN = np.nan
MESSY = DataSpec(
    name="messy",
    task="regression",
    kind="tabular",
    shape=(4,),
    dtype="float32",
    labels=(),
    target="price",
    features=("size", "colour", "year", "sold"),
    mean=(10.0, 0.0, 2000.0, 0.0),
    std=(2.0, 1.0, 4.0, 1.0),
    categories=((), ("blue", "green", "red"), (), ("false", "true")),
    fill=(9.0, -1.0, 2001.0, -1.0),
    target_mean=1000.0,
    target_std=250.0,
)
NUMBERS = replace(MESSY, categories=((),) * 4, mean=(10.0, 1.0, 2000.0, 0.5))
FULL = replace(NUMBERS, fill=(None,) * 4)
ROWS = np.array(
    [[12, 0, 2004, 1], [NAN, 2, 1996, 0], [8, -1, NAN, NAN], [10, NAN, 2000, -1], [11, 1, 2002, 1]], np.float32
)
SPECS = {"categories": MESSY, "numbers": NUMBERS, "nothing missing": FULL}


def rows(spec: DataSpec) -> np.ndarray:
    return np.where(np.isnan(ROWS), np.float32(spec.mean), ROWS) if spec is FULL else ROWS


def by_hand(spec: DataSpec) -> np.ndarray:
    """What the first layer should give, float32 [N, D]: value by value."""
    encoded = []
    for row in rows(spec).tolist():
        line: list[float] = []
        for value, names, fill, mean, std in zip(row, spec.categories, spec.fill, spec.mean, spec.std, strict=True):
            known = fill if np.isnan(value) else value
            line += [float(known == code) for code in range(len(names))] if names else [(known - mean) / std]
        encoded.append(line)
    return np.float32(encoded)


def first_layer(framework: str, spec: DataSpec) -> np.ndarray:
    layer = framework_module(framework, "layers").scale(spec)
    if framework == "torch":
        import torch

        return np.asarray(layer(torch.from_numpy(rows(spec))))
    return np.asarray(layer(rows(spec)))


def exported(
    framework: str, spec: DataSpec, folder: Path, readers: Readers
) -> tuple[onnxruntime.InferenceSession, dict[str, np.ndarray]]:
    """A session on the ONNX file, and what the model and all of its files say, of a model with the twin's weights."""
    torch_model = framework_module("torch", "mlp").build(spec, CONFIGS["mlp"])
    model = framework_module(framework, "mlp").build(spec, CONFIGS["mlp"])
    weights = framework_module("torch", "store").get_weights(torch_model)
    random = np.random.default_rng(0)
    framework_module(framework, "store").set_weights(
        model, {name: np.float32(random.normal(0, 0.3, weights[name].shape)) for name in sorted(weights)}
    )
    framework_module(framework, "export").export(model, spec, folder)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    files = [folder / name for name in READERS if (folder / name).exists()]
    trained = from_logits(framework_module(framework, "export").predictor(model, spec)(rows(spec)), spec, None)
    return session, {"trained": trained, **readers.read(files, spec, rows(spec))}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_first_layer_fills_scales_and_tells_categories_apart(framework: str, spec: DataSpec) -> None:
    found = first_layer(framework, spec)
    assert found.shape == (len(ROWS), spec.width)
    np.testing.assert_allclose(found, by_hand(spec), atol=1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_both_twins_export_the_same_graph(
    spec: DataSpec, readers: Readers, torch_operators: None, tmp_path: Path
) -> None:
    outputs, operators = {}, {}
    for framework in FRAMEWORKS:
        folder = tmp_path / framework
        folder.mkdir()
        session, said = exported(framework, spec, folder, readers)
        outputs[framework] = session.run(None, {"features": rows(spec)})[0]
        for name, found in said.items():
            expected = np.broadcast_to(outputs[framework], found.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
        operators[framework] = Counter(node.op_type for node in optimised(folder).graph.node)
    np.testing.assert_allclose(outputs["torch"], outputs["keras"], rtol=1e-5)
    assert np.isfinite(outputs["torch"]).all()
    assert abs(outputs["torch"].mean() - spec.target_mean) < 5 * spec.target_std
    assert operators["torch"] == operators["keras"]
    assert ("IsNaN" in operators["torch"]) == (spec is not FULL)
    assert ("Equal" in operators["torch"]) == (spec is MESSY)


def test_a_proof_adds_rows_with_missing_values_and_unknown_categories_where_there_may_be_any() -> None:
    inputs = export.with_missing_and_unknown(ROWS[[0, 4]], MESSY)
    np.testing.assert_array_equal(inputs[:2], ROWS[[0, 4]])
    np.testing.assert_array_equal(inputs[2:], [[NAN] * 4, [12, -1, 2004, -1]])
    without_missing = replace(MESSY, fill=(None,) * 4)
    np.testing.assert_array_equal(export.with_missing_and_unknown(ROWS[:1], without_missing)[1:], [[12, -1, 2004, -1]])
    assert export.with_missing_and_unknown(ROWS[:1], replace(without_missing, categories=((),) * 4)).shape == (1, 4)


def optimised(folder: Path) -> Any:
    import onnx

    return onnx.load(folder / "optimised.onnx")


def test_a_spec_of_a_table_says_something_of_every_feature() -> None:
    with pytest.raises(InputError, match="spec of 'messy': fill = 1; allowed: 4, one for each feature"):
        replace(MESSY, fill=(None,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"shift": 1}, "is a table; allowed: shift = 0"), ({"mixup": 0.2}, "cannot be blended; allowed: 0")],
)
def test_what_would_spoil_a_table_is_refused(changes: dict[str, Any], words: str) -> None:
    config = Augment(**{"shift": 0, "flip": False, "mixup": 0.0} | changes)
    with pytest.raises(InputError, match=words):
        config.require_compatible(MESSY)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_blends_of_a_number_and_a_missing_one_are_missing_and_are_learned_from(
    framework: str, train_config: Train
) -> None:
    random = np.random.default_rng(0)
    inputs = np.float32(random.normal(NUMBERS.mean, NUMBERS.std, (300, 4)))
    targets = np.float32(((inputs - NUMBERS.mean) / NUMBERS.std)[:, [0, 2]].sum(axis=1))
    inputs[:200][random.random(200) < 0.1, 0] = NAN
    data = TrainingData(Split(inputs[:200], targets[:200]), Split(inputs[200:], targets[200:]), NUMBERS)
    augment = Augment(shift=0, flip=False, mixup=0.3)
    augment.require_compatible(NUMBERS)
    (drawn,) = shuffled(data.train, 200, augment, random)
    batch = changed(data.train, drawn, augment, 1)
    gaps = [np.isnan(each[:, 0]).sum() for each in (data.train.inputs, batch.inputs)]
    assert gaps[0] < gaps[1] <= 2 * gaps[0]
    assert np.isfinite(batch.inputs[:, 1:]).all()
    config = train_config.model_copy(update={"augment": augment, "epochs": 20, "learning_rate": 0.03})
    device = framework_module(framework, "device").choose(config)
    model = framework_module(framework, "linear").build(NUMBERS, CONFIGS["linear"])
    history = framework_module(framework, "fit").fit(model, data, config, device, lambda *_: None, lambda *_: None)
    assert history[-1].validation_loss < 0.2 < history[0].validation_loss


def test_a_spec_is_read_as_it_was_written() -> None:
    import json

    assert DataSpec.from_dict(json.loads(json.dumps(MESSY.to_dict()))) == MESSY
