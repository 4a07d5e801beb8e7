"""Memory of the stages that read images does not grow with the number of images."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from models.spec import DataSpec
from pipelines.artifacts import paths
from pipelines.export import graph_svg
from tests.pipelines import synthetic
from tests.pipelines.stages.memory import peaks_mebibytes
from tests.pipelines.workspace import write_params
from tests.serving import bundles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")

SIDE = 128  # pixels
PICTURE = 3 * SIDE**2  # bytes, decoded, and about that on the disk
LABELS = ("ant", "bee", "cat")
FEW, MANY = 20, 200  # MiB of pictures; the few are already several batches, of which some are in memory
PARAMETERS = {
    "data.source": "image_folder",
    "data.size": [SIDE, SIDE],
    "prepare.validation": 0.3,
    "prepare.test": 0.3,
    "train.epochs": 1,
    "train.minimum_steps": 0,
    "train.augment.flip": True,
    "evaluate.latency_seconds": 0.02,
    "evaluate.bootstrap": 100,
}


def write_pictures(root: Path, mebibytes: int) -> Path:
    """Random images of the given total size, as BMP, which is fast to write and read."""
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, "BMP")
    head, random = stream.getvalue()[:-PICTURE], np.random.default_rng(0)
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for number in range((mebibytes << 20) // PICTURE // len(LABELS)):
            (root / label / f"{number:06}.bmp").write_bytes(head + random.bytes(PICTURE))
    return root


def workspace(folder: Path, mebibytes: int) -> Path:
    """A workspace with the given amount of images and parameters for them."""
    path = write_pictures(folder / "pictures", mebibytes)
    write_params(folder, {**PARAMETERS, "data.path": str(path)})
    return folder


def peaks(folders: Sequence[Path], candidate: str, *stages: str) -> dict[str, list[float]]:
    """The peak memory of each stage in MiB, in each workspace."""
    framework, architecture = candidate.split("-")
    chosen = ("--framework", framework, "--architecture", architecture)
    return {
        stage: peaks_mebibytes(folders, stage, *(() if stage in ("load", "prepare") else chosen)) for stage in stages
    }


def write_export(folder: Path, candidate: str) -> None:
    """What `export` leaves for `evaluate`, with random weights: it reads so many examples as its parameters say."""
    spec = DataSpec.read(folder / paths.SPEC)
    file = folder / paths.exports(candidate) / "model.onnx"
    file.parent.mkdir(parents=True)
    model = bundles.graph(bundles.weights(spec))
    file.write_bytes(model)
    native = file.with_name("model.pt2")
    native.write_bytes(b"only copied")
    file.with_name("graph.svg").write_text(graph_svg.draw(onnx.load_from_string(model).graph, candidate), "utf-8")
    files = {each.name: synthetic.proof(each, passed=True) for each in (file, native)}
    record = {"candidate": candidate, "temperature": None, "files": files}
    synthetic.write_json(file.with_name("parity.json"), record)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Each split of the larger data set has 54 MiB more."""
    folders = [workspace(tmp_path / str(mebibytes), mebibytes) for mebibytes in (FEW, MANY)]
    found = peaks(folders, "torch-linear", "load", "prepare", "train")
    for folder in folders:
        write_export(folder, "torch-linear")
    found |= peaks(folders, "torch-linear", "evaluate")
    growth = {stage: round(many - few) for stage, (few, many) in found.items()}
    assert max(growth.values()) < 45, growth


@pytest.mark.large
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("candidate", ["torch-mlp", "keras-mlp"])
def test_two_gibibytes_of_images_in_one_of_memory(tmp_path: Path, candidate: str) -> None:
    """Except in `export`, whose memory depends on the model, of which tf2onnx holds several copies."""
    found = peaks([workspace(tmp_path, 2048)], candidate, "load", "prepare", "train", "export", "evaluate")
    print(candidate, {stage: round(peak) for stage, (peak,) in found.items()}, "MiB")
    assert max(found[stage][0] for stage in ("load", "prepare", "train", "evaluate")) < 1024, found
