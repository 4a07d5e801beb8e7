"""Iris (Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x): sepal and petal sizes of 150 flowers, three species."""

from functools import partial

from pipelines.sources.built_in import embedded

find = embedded.find
load = partial(embedded.load, target="species")
