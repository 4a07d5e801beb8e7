"""Calibration of the default candidates on the default data."""

import numpy as np
import pytest
from scipy.special import softmax

from models.spec import DataSpec
from models.training.batches import Split, TrainingData
from pipelines.artifacts import paths, split_files
from pipelines.config import params
from pipelines.evaluate import calibration
from pipelines.execution.candidate import Candidate
from pipelines.export import temperature
from pipelines.load import __main__ as load
from pipelines.prepare import __main__ as prepare
from tests.models.conftest import FRAMEWORKS
from tests.pipelines.workspace import write_params

LIMIT = 0.02


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """The splits of the default parameters; the working directory has what `prepare` wrote."""
    folder = tmp_path_factory.mktemp("default")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder, {"train.device": "cpu"})
        load.main()
        prepare.main()
        names = ("train", "validation", "test")
        yield {name: Split(*map(np.array, split_files.read(paths.split(name)))) for name in names}


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_expected_calibration_error_is_small_with_the_temperature(splits, framework, architecture):
    settings, spec, chosen = params.read(), DataSpec.read(paths.SPEC), Candidate(framework, architecture)
    device = chosen.framework_module("device").choose(settings.train)
    model = chosen.architecture_module().build(spec, settings.models.of(architecture))
    data = TrainingData(splits["train"], splits["validation"], spec)
    chosen.framework_module("fit").fit(model, data, settings.train, device, lambda *_: None, lambda _: None)
    predict = chosen.framework_module("export").predictor(model, spec)
    fitted = temperature.fit(predict(splits["validation"].inputs), splits["validation"].targets)
    logits = predict(splits["test"].inputs)
    before, after = (_error(logits / each, splits["test"], settings) for each in (1.0, fitted))
    assert after <= LIMIT < before


def _error(logits, split, settings):
    probabilities = softmax(logits, axis=1)
    bins = calibration.group(probabilities, split.targets, settings.evaluate.calibration_bins)
    return calibration.expected_calibration_error(bins)
