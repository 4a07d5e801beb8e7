"""Data larger than memory: more pictures must not mean more memory, in no stage that reads them."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.memory import peak_mebibytes
from tests.pipelines.workspace import write_params

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")

SIDE = 128  # pixels
PICTURE = 3 * SIDE**2  # bytes, decoded, and about that on the disk
LABELS = ("ant", "bee", "cat")
FEW, MANY = 6, 400  # MiB of pictures
PARAMETERS = {
    "data.source": "image_folder",
    "data.size": [SIDE, SIDE],
    "prepare.validation": 0.3,
    "prepare.test": 0.3,
    "train.epochs": 1,
    "train.augment.flip": True,
    "evaluate.latency_seconds": 0.1,
}


def write_pictures(root: Path, mebibytes: int) -> Path:
    """So much noise, as BMP, which takes no time to write and little to read."""
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, "BMP")
    head, random = stream.getvalue()[:-PICTURE], np.random.default_rng(0)
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for number in range((mebibytes << 20) // PICTURE // len(LABELS)):
            (root / label / f"{number:06}.bmp").write_bytes(head + random.bytes(PICTURE))
    return root


def peaks(folder: Path, mebibytes: int, candidate: str, *stages: str) -> dict[str, float]:
    """The peak of each stage in MiB, over so many pictures."""
    path = write_pictures(folder / f"pictures-{mebibytes}", mebibytes)
    write_params(folder, {**PARAMETERS, "data.path": str(path)})
    framework, architecture = candidate.split("-")
    chosen = ("--framework", framework, "--architecture", architecture)
    return {stage: peak_mebibytes(folder, stage, *(() if stage in ("load", "prepare") else chosen)) for stage in stages}


def test_many_pictures_take_no_more_memory_than_few(tmp_path: Path) -> None:
    """Each split of the many is of 120 MiB or more. `export` reads so many as its parameters say."""
    few = peaks(tmp_path, FEW, "torch-linear", "load", "prepare", "train", "export", "evaluate")
    many = peaks(tmp_path, MANY, "torch-linear", "load", "prepare", "train", "evaluate")
    growth = {stage: round(many[stage] - few[stage]) for stage in many}
    assert max(growth.values()) < 90, growth


@pytest.mark.large
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("candidate", ["torch-mlp", "keras-mlp"])
def test_two_gibibytes_of_pictures_in_one_of_memory(tmp_path: Path, candidate: str) -> None:
    """But for `export`: what it takes grows with the model, which tf2onnx holds many times, not with the data."""
    found = peaks(tmp_path, 2048, candidate, "load", "prepare", "train", "export", "evaluate")
    print(candidate, {stage: round(peak) for stage, peak in found.items()}, "MiB")
    assert max(found[stage] for stage in ("load", "prepare", "train", "evaluate")) < 1024, found
