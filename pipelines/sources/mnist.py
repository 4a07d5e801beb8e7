"""MNIST (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/): 70,000 handwritten digits of 28x28."""

from functools import partial

from pipelines.sources.published import idx, locate

LABELS = tuple(str(digit) for digit in range(10))
FILES = idx.files(
    train_images="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    train_labels="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    test_images="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    test_labels="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
)

find = partial(locate.find, source="mnist", parts=FILES)
load = partial(idx.load, source="mnist", labels=LABELS, parts=FILES, mirrors=MIRRORS)
