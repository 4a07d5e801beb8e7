"""Breast cancer (Wolberg and others 1995, doi:10.24432/C5DW2B): 569 tumours, 30 measurements of their cell nuclei."""

from functools import partial

from pipelines.sources.built_in import embedded

find = embedded.find
load = partial(embedded.load, target="diagnosis")
