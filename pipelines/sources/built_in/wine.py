"""Wine (Aeberhard and Forina 1992, doi:10.24432/C5PC7J): 178 Italian wines of three cultivars, 13 chemical analyses."""

from functools import partial

from pipelines.sources.built_in import embedded

find = embedded.find
load = partial(embedded.load, target="cultivar")
