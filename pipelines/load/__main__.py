"""The stage that brings real examples onto the disk: `python -m pipelines.load`."""

from pipelines.artifacts import paths, raw_data
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.raw_data import RawData
from pipelines.cli import stage
from pipelines.config import params
from pipelines.load import table_summary
from pipelines.sources import by_name


def main() -> None:
    """Load the source named in `data.source` into `artifacts/data/raw`. Raises InputError and OSError."""
    config = params.read().data
    raw: RawData = by_name.source(config).load(config)
    with staged(paths.RAW.parent, [paths.RAW.name]) as folder:
        raw_data.write(raw, folder / paths.RAW.name)
    print(describe(raw))
    if raw.table:
        print(table_summary.describe(raw.train_inputs, raw.table, raw.notes))


def describe(raw: RawData) -> str:
    """One line that says what was loaded and from where."""
    shape = "×".join(str(size) for size in raw.train_inputs.shape[1:])
    what, size = ("rows", f"{shape} columns") if raw.table else ("images", shape)
    test = "no official test split" if raw.test_inputs is None else f"{len(raw.test_inputs)} official test {what}"
    learned = f"{len(raw.labels)} classes" if raw.labels else f"to predict '{raw.target}'"
    return f"loaded {raw.name} from {raw.origin}: {len(raw.train_inputs)} {what} of {size}, {learned}, {test}"


if __name__ == "__main__":
    stage.run(main)
