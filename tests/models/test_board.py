"""TensorBoard's files: read back by TensorBoard's own reader, they say the same whichever framework wrote them."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow  # noqa: F401  # before torch's writer makes TensorBoard do without it
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from models.spec import DataSpec
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module

VALUES = np.arange(60, dtype=np.float32).reshape(6, 10) / 7
IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture(params=FRAMEWORKS)
def events(request: pytest.FixtureRequest, spec: DataSpec, tmp_path: Path) -> EventAccumulator:
    writer = framework_module(request.param, "board").EventWriter(tmp_path / "run")
    writer.graph(framework_module(request.param, "cnn").build(spec, CONFIGS["cnn"]), spec.example(2))
    writer.image("picture", IMAGE, 0)
    for step in (1, 2):
        writer.scalars({"epoch/train_loss": 1 / step}, step)
        writer.histograms({"weights/conv_1/kernel": step * VALUES}, step)
    writer.close()
    found = EventAccumulator(str(tmp_path / "run"), {"histograms": 0, "tensors": 0})  # 0: all of them
    found.Reload()
    return found


def test_scalars_are_there_for_each_step(events: EventAccumulator) -> None:
    if "epoch/train_loss" in events.Tags()["scalars"]:
        found = {event.step: event.value for event in events.Scalars("epoch/train_loss")}
    else:
        found = {event.step: make_ndarray(event.tensor_proto) for event in events.Tensors("epoch/train_loss")}
    assert found == {1: 1.0, 2: 0.5}


def test_histograms_have_the_same_buckets(events: EventAccumulator) -> None:
    if "weights/conv_1/kernel" in events.Tags()["histograms"]:
        value = events.Histograms("weights/conv_1/kernel")[1].histogram_value
        counts, right = [count for count in value.bucket if count], value.bucket_limit[-1]
    else:
        rows = make_ndarray(events.Tensors("weights/conv_1/kernel")[1].tensor_proto)
        counts, right = list(rows[:, 2]), rows[-1, 1]
    assert counts == [2] * 30
    assert right == pytest.approx(2 * VALUES.max())


def test_images_are_kept_bit_for_bit(events: EventAccumulator) -> None:
    if "picture" in events.Tags()["images"]:
        encoded = events.Images("picture")[0].encoded_image_string
    else:
        encoded = make_ndarray(events.Tensors("picture")[0].tensor_proto)[2]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), IMAGE)


def test_the_graph_is_there(events: EventAccumulator) -> None:
    nodes = "".join(node.name for node in events.Graph().node)
    assert "conv_1" in nodes
    assert "logits" in nodes
