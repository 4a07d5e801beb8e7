"""Style of all plots, and rendering to PNG files without a display."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray

# Colours of the splits in plots of the data.
TRAIN, VALIDATION, TEST = "#2f6fb0", "#e08e2b", "#4b9a6a"
INK, FAINT = "#24303c", "#d0d7de"
PANELS_PER_ROW = 4

# Fonts for the scripts that Matplotlib's own font lacks, such as Chinese, of Linux, Windows and macOS.
FALLBACK_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Source Han Sans"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAGothic", "Droid Sans Fallback", "Noto Sans Devanagari"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo"),
    "Arial Unicode MS",
)

STYLE: dict[RcKeyType, Any] = {
    "figure.dpi": 120,
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "figure.constrained_layout.h_pad": 0.08,
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # column and class names may contain a $
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.interpolation": "nearest",
}


@contextmanager
def picture(path: Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """A figure of `width` by `height` inches, saved as PNG at the end of the context.

    Does not use pyplot, which keeps figures open and takes longer to import. Characters that no font has are drawn as
    boxes, without a warning for each, nor for a font without a bold face.
    """
    logging.getLogger(font_manager.__name__).setLevel(logging.ERROR)
    with rc_context(STYLE | {"font.family": fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure((width, height), layout="constrained")
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        yield figure
        _format_log_ticks(figure)
        # Without the version of Matplotlib, so that equal plots are equal files.
        figure.savefig(path, metadata={"Software": None})


@contextmanager
def panels(path: Path, count: int, title: str) -> Iterator[NDArray[Any]]:
    """`count` small Axes, PANELS_PER_ROW side by side, saved as by `picture`."""
    rows = -(-count // PANELS_PER_ROW)
    with picture(path, 11, 0.6 + 2.1 * rows, title) as figure:
        axes = figure.subplots(rows, PANELS_PER_ROW, squeeze=False).ravel()
        for unused in axes[count:]:
            unused.set_visible(False)
        yield axes[:count]


def fonts() -> list[str]:
    """Matplotlib's own font and the installed FALLBACK_FONTS, tried in turn for each character."""
    manager = font_manager.fontManager
    if not {*FALLBACK_FONTS} & {*manager.get_font_names()}:
        # Matplotlib caches its list of fonts for good.
        for path in {*font_manager.findSystemFonts()} - {font.fname for font in manager.ttflist}:
            with suppress(RuntimeError):  # FreeType cannot read it
                manager.addfont(path)
    return ["DejaVu Sans", *sorted({*FALLBACK_FONTS} & {*manager.get_font_names()}, key=FALLBACK_FONTS.index)]


def histogram(axes: Axes, values: NDArray[np.floating], bins: int, colour: str) -> None:
    """Histogram with `bins` bars, or one bar labelled with the value where all values are equal.

    In double precision: in single precision the edges of narrow bars may be equal.
    """
    if values.min() == values.max():
        axes.bar(0, len(values), color=colour)
        axes.set_xticks([0], [f"{values[0]:g}"])
    else:
        axes.hist(values.astype(np.float64), bins, color=colour)


def _format_log_ticks(figure: Figure) -> None:
    """Format ticks of logarithmic axes as 10 or 1e-05 instead of powers in mathematical notation."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_formatter(LogFormatter())
                axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def bare(axes: Axes) -> None:
    """Remove ticks, grid and frame: for images."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
