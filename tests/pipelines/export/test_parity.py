from dataclasses import replace
from itertools import chain

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import InputError
from pipelines.artifacts import paths, split_files
from pipelines.artifacts.hashing import hash_files
from pipelines.config.params import Export, Int8
from pipelines.export import __main__ as export
from pipelines.export import parity
from pipelines.export.batch_sizes import BATCH_SIZES, predict, predict_in_all_sizes
from pipelines.export.reader_processes import ReaderProcesses
from tests.pipelines import synthetic

EXAMPLES, CLASSES = 70, 5  # 70 is no multiple of 7 nor of 32: last batches are smaller
INT8 = Int8(examples=10, top1_agreement=0.95, accuracy_loss=0.02)
CONFIG = Export(
    calibration="none", examples=70, absolute_tolerance=1e-4, relative_tolerance=1e-3, top1_agreement=1.0, int8=INT8
)
INPUTS = np.arange(EXAMPLES, dtype=np.uint8)[:, None]  # each example is its own number


def outputs():
    """Probabilities [N, K] with a clear winner for each example."""
    found = np.random.default_rng(0).uniform(0.01, 0.05, (EXAMPLES, CLASSES)).astype(np.float32)
    found[np.arange(EXAMPLES), np.arange(EXAMPLES) % CLASSES] = 0.7
    return found


def model_of(table):
    """A model that knows its examples by heart."""
    return lambda raw: table[raw[:, 0]]


TRAINED = model_of(outputs())
REGRESSION = replace(synthetic.SPEC, task="regression", labels=())
TARGETS = outputs().argmax(1)


def compare(exported, trained=TRAINED, spec=synthetic.SPEC):
    expected, found = predict(trained, INPUTS, max(BATCH_SIZES)), predict_in_all_sizes(exported, INPUTS)
    return parity.compare(expected, found, TARGETS, spec, CONFIG.absolute_tolerance)


def changed(example, output, value):
    table = outputs()
    table[example, output] = value
    return table


def refusal(exported, trained=TRAINED, config=CONFIG):
    with pytest.raises(InputError) as caught:
        parity.require_within_tolerances(compare(exported, trained), "model.onnx", config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_model_is_proved():
    found = compare(model_of(outputs()))
    assert (found.max_absolute_difference, found.max_relative_difference, found.nan_count) == (0, 0, 0)
    assert (found.top1_agreement, found.accuracy_difference) == (1, 0)
    parity.require_within_tolerances(found, "model.onnx", CONFIG)


def test_a_difference_within_the_tolerance_is_measured_and_passes():
    found = compare(model_of(changed(41, 3, outputs()[41, 3] + 5e-6)))
    assert found.max_absolute_difference == pytest.approx(5e-6, rel=0.01)
    parity.require_within_tolerances(found, "model.onnx", CONFIG)


def test_a_perturbed_model_is_refused_with_the_place_where_it_differs_most():
    table = changed(41, 3, 0.25)
    table[12, 0] += 0.01
    said = refusal(model_of(table))
    assert said.startswith("model.onnx differs from the trained model: max_absolute_difference = ")
    assert f"compared example 41, output 3, in batches of 1: 0.25 in place of {outputs()[41, 3]:.9g}" in said
    assert "0.0001 absolute, 0.001 relative, no NaN, 1 agreement" in said


def test_a_small_probability_is_held_to_the_relative_tolerance():
    low = changed(7, 4, 0.002)
    said = refusal(model_of(changed(7, 4, 0.00205)), model_of(low))
    assert "max_relative_difference = 0.02" in said
    assert "max_absolute_difference" not in said


def test_a_negligible_probability_is_not():
    low = changed(7, 4, 1e-7)
    assert compare(model_of(changed(7, 4, 2e-7)), model_of(low)).max_relative_difference == 0


@pytest.mark.parametrize("batch", BATCH_SIZES)
def test_a_model_that_is_wrong_in_batches_of_one_size_only_is_refused(batch):
    def exported(raw):
        wrong = (raw == 6) & (np.arange(CLASSES) == 0)  # [batch, K]; example 6 is in a full batch of every size
        return TRAINED(raw) + 0.3 * (wrong & (len(raw) == batch))

    assert f"compared example 6, output 0, in batches of {batch}:" in refusal(exported)


def test_nan_is_counted_and_named():
    said = refusal(model_of(changed(41, 3, np.nan)))
    assert f"nan_count = {len(BATCH_SIZES)}" in said
    assert "compared example 41, output 3, in batches of 1: nan in place of" in said


@pytest.mark.filterwarnings("error:All-NaN slice")
def test_nothing_but_nan_is_refused():
    assert f"nan_count = {len(BATCH_SIZES) * EXAMPLES * CLASSES}" in refusal(
        model_of(np.full((EXAMPLES, CLASSES), np.nan, np.float32))
    )


def test_a_trained_model_that_gives_nan_proves_nothing():
    table = model_of(changed(41, 3, np.nan))
    refusal(TRAINED, table)
    refusal(table, table)


def test_an_int8_graph_is_held_to_its_own_tolerances():
    assert parity.int8_failures(compare(model_of(outputs())), INT8) == []
    rounded = np.round(outputs(), 2)
    assert compare(model_of(rounded)).max_absolute_difference > CONFIG.absolute_tolerance
    assert parity.int8_failures(compare(model_of(rounded)), INT8) == []
    wrong = outputs()
    wrong[:4] = wrong[:4, ::-1]
    wrong[9, 0] = np.nan
    found = parity.int8_failures(compare(model_of(wrong)), INT8)
    assert [failure.split(" = ")[0] for failure in found] == ["nan_count", "top1_agreement", "accuracy_loss"]
    assert "allowed: at most export.int8.accuracy_loss = 0.02" in found[2]


def test_an_int8_graph_may_lose_as_much_as_is_allowed():
    """0.926 - 0.921 is more than 0.005 in floating point."""
    targets, classes = np.zeros(1000, np.int64), np.eye(CLASSES, dtype=np.float32)
    expected, exported = (classes[(np.arange(1000) >= right).astype(int)] for right in (926, 921))
    found = parity.compare(expected, exported[None], targets, synthetic.SPEC, CONFIG.absolute_tolerance)
    limits = Int8(examples=10, top1_agreement=0.99, accuracy_loss=0.005)
    assert parity.int8_failures(found, limits) == []
    assert parity.int8_failures(found, limits.model_copy(update={"accuracy_loss": 0.0049})) != []


def test_examples_without_a_target_are_compared_by_their_outputs_only():
    """The last one is classified as another class."""
    wrong = np.roll(outputs(), 1, axis=1)
    table = np.concatenate([outputs()[:-1], wrong[-1:]])
    expected, found = predict(TRAINED, INPUTS, max(BATCH_SIZES)), predict_in_all_sizes(model_of(table), INPUTS)
    result = parity.compare(expected, found, TARGETS[:-1], synthetic.SPEC, CONFIG.absolute_tolerance)
    assert (result.top1_agreement, result.accuracy_loss, result.accuracy_difference) == (1.0, 0.0, 0.0)
    assert result.max_absolute_difference > 0.6


def test_an_int8_graph_may_get_more_right_than_the_trained_model():
    trained = outputs()
    trained[:2] = trained[:2, ::-1]
    found = compare(model_of(outputs()), model_of(trained))
    assert found.accuracy_loss == pytest.approx(-2 / EXAMPLES)
    assert parity.int8_failures(found, INT8.model_copy(update={"top1_agreement": 0.9})) == []


def test_another_class_is_no_agreement():
    table = outputs()
    table[0] = table[0, ::-1]
    found = compare(model_of(table))
    assert found.top1_agreement == pytest.approx(1 - 1 / EXAMPLES)
    assert found.accuracy_difference == pytest.approx(1 / EXAMPLES)
    loose = CONFIG.model_copy(update={"absolute_tolerance": 1.0, "relative_tolerance": 1e9})
    assert "top1_agreement = 0.98571" in refusal(model_of(table), config=loose)


def test_ties_are_left_out_of_the_agreement():
    tied, other = outputs(), outputs()
    tied[3, :2] = 0.5, 0.5 - 1e-5
    other[3, :2] = 0.5 - 1e-5, 0.5
    found = compare(model_of(other), model_of(tied))
    assert found.top1_agreement == 1
    parity.require_within_tolerances(found, "model.onnx", CONFIG)


def test_where_all_are_ties_nothing_disagrees():
    flat = np.full((EXAMPLES, CLASSES), 1 / CLASSES, np.float32)
    assert compare(model_of(flat), model_of(flat)).top1_agreement == 1


def test_a_regression_has_no_classes_to_agree_on():
    table = np.linspace(-1, 1, EXAMPLES, dtype=np.float32)[:, None]
    found = compare(model_of(-table), model_of(table), REGRESSION)
    assert (found.top1_agreement, found.accuracy_difference, found.accuracy_loss) == (1, 0, 0)


@pytest.mark.parametrize(("mean", "std", "scale"), [(0.0, 4.0, 4.0), (100.0, 4.0, 4.0), (-1000.0, 4.0, 10.0)])
def test_differences_of_a_regression_are_relative_to_the_spread_or_size_of_its_target(mean, std, scale):
    table = np.full((EXAMPLES, 1), mean, np.float32)
    found = compare(model_of(table + 2), model_of(table), replace(REGRESSION, target_mean=mean, target_std=std))
    assert found.max_absolute_difference == pytest.approx(2 / scale)


def test_all_examples_are_compared_in_all_batch_sizes():
    seen = []

    def exported(raw):
        seen.append(raw[:, 0].tolist())
        return TRAINED(raw)

    compare(exported)
    for batch in BATCH_SIZES:
        sizes = [batch] * (EXAMPLES // batch) + [EXAMPLES % batch] * bool(EXAMPLES % batch)
        calls, seen = seen[: len(sizes)], seen[len(sizes) :]
        assert [len(call) for call in calls] == sizes
        assert list(chain(*calls)) == list(range(EXAMPLES))


def test_an_onnx_file_is_described_by_opset_and_nodes_size_and_hash(tmp_path):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("x", "y")]
    nodes = [helper.make_node("Neg", ["x"], ["z"]), helper.make_node("Neg", ["z"], ["y"])]
    graph = helper.make_graph(nodes, "twice", values[:1], values[1:])
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "model.onnx")
    found = parity.file_entry(compare(TRAINED), tmp_path / "model.onnx")
    assert (found["opset"], found["node_count"]) == (18, 2)
    assert found["bytes"] == (tmp_path / "model.onnx").stat().st_size
    assert found["sha256"] == hash_files([tmp_path / "model.onnx"])
    assert found["max_absolute_difference"] == 0


def test_a_folder_is_described_by_all_of_its_files(tmp_path):
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    before = parity.file_entry(compare(TRAINED), folder)
    assert before["bytes"] == 12
    assert "opset" not in before
    (folder / "variables" / "data").write_bytes(b"WEIGHTS")
    assert parity.file_entry(compare(TRAINED), folder)["sha256"] != before["sha256"]


def test_all_classes_of_a_sorted_split_are_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets = np.repeat(np.arange(10), 50)
    images = np.full((500, 8, 8, 1), targets[:, None, None, None], np.uint8)  # the class is in the pixels
    split_files.write([images], images, targets, make_folder(paths.split("validation")))
    seen = []

    def trained(raw):
        seen.extend(raw[:, 0, 0, 0].tolist())
        return np.zeros((len(raw), 10), np.float32)

    config = CONFIG.model_copy(update={"examples": 40})
    report = export.check_parity(trained, None, ReaderProcesses({}), synthetic.SPEC, config, tmp_path)
    assert report["examples"] == 40
    assert np.bincount(seen).tolist() == [4] * 10


def make_folder(path):
    path.mkdir(parents=True)
    return path
