"""The loss, the architecture and the data source of docs/extending.md, added to a copy of the repository and used."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from models.errors import InputError
from pipelines.artifacts import paths, raw_data
from pipelines.config import params
from tests.models.conftest import FRAMEWORKS

REPOSITORY = Path(__file__).parents[1]
OPENINGS = {
    "LOSSES": r"^LOSSES: .*\{\n",
    "SOURCES": r"^SOURCES: .*\{\n",
    "before Models": r"(?=^class Models\()",
    "Models": r"(?=^    linear: Linear\n)",
}
OPENINGS |= {"models": r"^models:\n"}
TRAIN = """
import sys
import numpy as np
from sklearn.datasets import load_digits
from models.training.batches import TrainingData, Split
from models.spec import DataSpec
from pipelines.config import params
from pipelines.execution.candidate import Candidate

settings, chosen, bunch = params.read(), Candidate(sys.argv[1], "bottleneck"), load_digits()
split = Split(np.uint8(bunch.images * 15)[..., None], bunch.target.astype(np.int64))
labels = tuple(map(str, range(10)))
spec = DataSpec("digits", "classification", "image", (8, 8, 1), "uint8", labels, "label", (), (73.0,), (90.0,))
settings.train.require_compatible(spec)
model = chosen.framework_module(chosen.architecture).build(spec, settings.models.bottleneck)
device = chosen.framework_module("device").choose(settings.train)
data = TrainingData(split, split, spec)
fit = chosen.framework_module("fit").fit
history = fit(model, data, settings.train, device, lambda epoch, learner: None, lambda step: None)
weights = chosen.framework_module("store").get_weights(model)
print(history[-1].validation_loss, history[-1].validation_accuracy, *sorted(weights))
"""


def blocks(title: str) -> list[tuple[str, str, str]]:
    """File, place and text of each piece of code in a section of docs/extending.md."""
    section = (REPOSITORY / "docs" / "extending.md").read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    pieces = []
    for code in re.findall(r"```(?:python|yaml)\n(.*?)```", section, re.DOTALL):
        parts = re.split(r"^# (\S+?)(?:: (.*))?\n", code, flags=re.MULTILINE)[1:]
        pieces += list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    return pieces


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with all three, and with parameters that use them."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("models", "pipelines"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "params.yaml", folder)
    titles = ("Add a loss", "Add an architecture", "Add a data source")
    for file, place, text in (piece for title in titles for piece in blocks(title)):
        path = folder / file
        old = path.read_text("utf-8") if place else ""
        gap = "\n\n" if place == "before Models" else ""
        opening = re.search(OPENINGS[place], old, re.MULTILINE) if place else re.match("", "")
        path.write_text(old[: opening.end()] + text + gap + old[opening.end() :], "utf-8")
    yaml = YAML()
    values = yaml.load(folder / "params.yaml")
    values["architectures"] = ["bottleneck"]
    values["train"] |= {"loss": "brier", "epochs": 12, "minimum_steps": 0}
    values["data"]["source"] = "checkerboard"
    yaml.dump(values, folder / "params.yaml")
    return folder


def test_both_are_trained_as_documented(extended: Path) -> None:
    layers = []
    for framework in FRAMEWORKS:
        command = [sys.executable, "-c", TRAIN, framework]
        done = subprocess.run(command, cwd=extended, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        loss, accuracy, *names = done.stdout.split()
        assert 0 < float(loss) < 0.5
        assert float(accuracy) > 0.85
        layers.append(names)
    assert layers[0] == layers[1] == ["dense/bias", "dense/kernel", "logits/bias", "logits/kernel"]


def test_the_source_is_loaded_as_documented(extended: Path) -> None:
    for stage in ("check", "load"):
        command = [sys.executable, "-m", f"pipelines.{stage}"]
        done = subprocess.run(command, cwd=extended, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    raw = raw_data.read(extended / paths.RAW)
    assert raw.labels == ("black", "white")
    assert np.array_equal(raw.train_targets, np.floor(raw.train_inputs).sum(axis=1) % 2)


def test_here_both_are_refused(extended: Path) -> None:
    with pytest.raises(InputError, match=r'architectures\.0 = "bottleneck"; allowed: linear, mlp, cnn, resnet'):
        params.read(extended / "params.yaml")
