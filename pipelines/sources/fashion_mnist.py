"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747): 70,000 images of clothing, 28x28."""

from functools import partial
from pathlib import Path

from pipelines.sources.published import idx, locate

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FILES = idx.files(
    train_images="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    train_labels="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    test_images="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    test_labels="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist

find = partial(locate.find, source="fashion_mnist", parts=FILES, system_folders=(DEBIAN,))
load = partial(idx.load, source="fashion_mnist", labels=LABELS, parts=FILES, mirrors=MIRRORS, system_folders=(DEBIAN,))
