"""What the data looks like: some examples of each class, and how many there are in each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipelines.plotting.style import INK, TEST, TRAIN, VALIDATION, bare, picture

COLUMNS = 14  # examples of each class
ROWS = 100  # classes that are drawn: a picture has at most 65,536 pixels a side
LARGEST = 128  # pixels a side of one example, which has about 80 on the page
COLOURS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def draw_samples(
    path: Path, title: str, images: NDArray[np.uint8], targets: NDArray[np.int64], labels: Sequence[str]
) -> None:
    """A row for each class, of at most ROWS, with the first of its examples in `images` [N, H, W, C]."""
    step = -(-max(images.shape[1:3]) // LARGEST)
    images, labels = images[:, ::step, ::step], labels[:ROWS]  # a view; no pixel is read
    height = images.shape[1]
    montage = _montage(images, targets, len(labels))
    with picture(path, 9.2, 0.7 + 0.55 * len(labels), title) as figure:
        axes = figure.subplots()
        axes.imshow(montage)
        _name_rows(axes, [row * (height + _gap(height)) + (height - 1) / 2 for row in range(len(labels))], labels)


def draw_balance(path: Path, title: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """For each split a bar for each class, at most ROWS: `counts[split][label]` examples, against an even balance."""
    labels = list(next(iter(counts.values())))[:ROWS]
    with picture(path, 9.2, 1.3 + 0.3 * len(labels), title) as figure:
        panels = figure.subplots(1, len(counts), sharey=True)
        for axes, (split, values) in zip(panels, counts.items(), strict=True):
            _draw_bars(axes, split, list(values.values()))
            _name_rows(axes, range(len(labels)), labels)
        panels[0].invert_yaxis()


def _draw_bars(axes: Axes, split: str, values: list[int]) -> None:
    shown = values[:ROWS]
    axes.barh(range(len(shown)), shown, color=COLOURS[split], height=0.72)
    axes.axvline(sum(values) / len(values), color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    right = 1.18 * max(shown)
    for row, value in enumerate(shown):
        axes.text(right, row, f"{value:,}", ha="right", va="center", fontsize=9, color=INK)
    axes.set_xlim(0, right)
    axes.set_title(f"{split}: {sum(values):,}", fontsize=10, fontweight="normal")


def _montage(images: NDArray[np.uint8], targets: NDArray[np.int64], classes: int) -> NDArray[np.uint8]:
    """One white-ruled picture, uint8 [rows, columns, 3]."""
    height, width, channels = images.shape[1:]
    tall, wide = height + _gap(height), width + _gap(width)
    canvas = np.full((classes * tall, COLUMNS * wide, 3), 255, np.uint8)
    for row in range(classes):
        for column, example in enumerate(np.flatnonzero(targets == row)[:COLUMNS]):
            image = np.broadcast_to(images[example], (height, width, 3)) if channels == 1 else images[example]
            canvas[row * tall : row * tall + height, column * wide : column * wide + width] = image
    return canvas


def _gap(size: int) -> int:
    """Pixels between two examples."""
    return max(1, size // 10)


def _name_rows(axes: Axes, places: Sequence[float], labels: Sequence[str]) -> None:
    """Nothing around the picture but the names on its left."""
    bare(axes)
    axes.set_yticks(places, labels)
    axes.tick_params(length=0)
