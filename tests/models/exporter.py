"""An export in a process of its own, which imports no more than it needs: the test modules import seconds more."""

from pathlib import Path

import numpy as np

from models.config import ModelConfig
from models.spec import DataSpec
from pipelines.execution.candidate import Candidate


def export_new_model(candidate: Candidate, config: ModelConfig, spec: DataSpec, folder: Path) -> None:
    """Export a model whose weights do not depend on the process."""
    model, store = candidate.architecture_module().build(spec, config), candidate.framework_module("store")
    random = np.random.default_rng(0)
    weights = store.get_weights(model)
    store.set_weights(model, {name: random.random(array.shape, np.float32) for name, array in weights.items()})
    folder.mkdir()
    candidate.framework_module("export").export(model, spec, folder)
