"""The prepared training and validation split, as a training reads them."""

from models.spec import DataSpec
from models.training.batches import Split, TrainingData
from pipelines.artifacts import paths, split_files


def read() -> TrainingData:
    """Both splits; inputs are memory-mapped. Raises InputError where a file is missing or broken."""
    spec = DataSpec.read(paths.SPEC)
    train, validation = (Split(*split_files.read(paths.split(name))) for name in ("train", "validation"))
    return TrainingData(train.standardised(spec), validation.standardised(spec), spec)
