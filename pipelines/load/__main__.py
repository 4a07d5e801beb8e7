"""Stage `load`: fetch the raw examples of the data source."""

from pipelines.artifacts import paths, raw_data
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.raw_data import RawData
from pipelines.config import params
from pipelines.config.params import DataSource, Prepare
from pipelines.execution import stage
from pipelines.load import table_summary
from pipelines.sources import by_name


def main() -> None:
    """Load the source named in `data.source`."""
    settings = params.read()
    load(settings.data, settings.prepare)


def load(config: DataSource, prepare: Prepare) -> None:
    """Write the examples of the source to `artifacts/data/raw`, with the columns that `prepare` assigns them by.

    Raises InputError and OSError.
    """
    prepare.require_source(config.source)
    columns = {key: name for key in ("group", "order") if (name := getattr(prepare, key)) is not None}
    raw: RawData = by_name.module(config).load(config, **columns)
    with staged(paths.RAW.parent, [paths.RAW.name]) as folder:
        raw_data.write(raw, folder / paths.RAW.name)
    print(_summary(raw))
    if raw.table:
        print(table_summary.summary(raw.train_inputs, raw.table, raw.notes))


def _summary(raw: RawData) -> str:
    """Name, origin, size and target of the examples in one line."""
    shape = "×".join(str(size) for size in raw.train_inputs.shape[1:])
    unit, size = ("rows", f"{shape} {'column' if shape == '1' else 'columns'}") if raw.table else ("images", shape)
    test = "no official test split" if raw.test_inputs is None else f"{len(raw.test_inputs)} official test {unit}"
    target = f"{len(raw.labels)} classes" if raw.is_classification else f"regression of '{raw.target}'"
    return f"loaded {raw.name} from {raw.origin}: {len(raw.train_inputs)} {unit} of {size}, {target}, {test}"


if __name__ == "__main__":
    stage.run(main, __doc__)
