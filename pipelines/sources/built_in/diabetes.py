"""Diabetes (Efron and others 2004, doi:10.1214/009053604000000067): progression in 442 patients after one year.

The features are age, sex, body mass index, blood pressure and six serum measurements in their original units.
"""

from functools import partial

from pipelines.sources.built_in import embedded

find = embedded.find
load = partial(embedded.load, target="progression", scaled=False)
