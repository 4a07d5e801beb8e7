"""An SVG drawing of an exported graph.

One box per node, in rows by the longest path from the input; a connection that skips rows, as a residual one does, is
drawn beside them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import onnx

WIDTH, HEIGHT, GAP, MARGIN = 250, 58, 26, 20  # pixels: of a box, between boxes, around all
SKIP_WIDTH = 60  # pixels that a connection which skips rows extends to the right
LINE = "#57606a"
COLOURS = {
    "Conv": "#cfe3f7",
    "Gemm": "#cfe3f7",
    "MatMul": "#cfe3f7",
    "Relu": "#fbe3c0",
    "MaxPool": "#d7efdc",
    "AveragePool": "#d7efdc",
    "GlobalAveragePool": "#d7efdc",
    "Add": "#f6d5e0",
}
PLAIN, END = "#f3f4f6", "#ffffff"


@dataclass(frozen=True)
class Box:
    """A node, the input or the output: three lines of text, and the names of the values that it reads and writes."""

    title: str
    lines: tuple[str, str]
    colour: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def draw(graph: onnx.GraphProto, name: str) -> str:
    """The drawing of a graph whose values have known shapes, titled `name`."""
    boxes = [*_boxes(graph)]
    rows = _rows(boxes)
    places = _places(rows, _last_readers(boxes, rows))
    columns = max(rows.count(row) for row in rows)
    width = 2 * MARGIN + columns * (WIDTH + GAP) - GAP + 2 * SKIP_WIDTH
    picture = _picture(width, 2 * MARGIN + (max(rows) + 1) * (HEIGHT + GAP) - GAP, name)
    _connect(picture, boxes, rows, places, width / 2)
    for box, place in zip(boxes, places, strict=True):
        _draw_box(picture, box, width / 2 + place[0], place[1])
    return ElementTree.tostring(picture, encoding="unicode", xml_declaration=True) + "\n"


def _boxes(graph: onnx.GraphProto) -> Iterator[Box]:
    weights = {tensor.name: tuple(map(str, tensor.dims)) for tensor in graph.initializer}
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    (first,), (last,) = graph.input, graph.output
    yield Box(first.name, (_kind(first), shapes[first.name]), END, (), (first.name,))
    for node in graph.node:
        weight_shapes = [f"{name.rpartition('.')[2]} {_times(weights[name])}" for name in node.input if name in weights]
        lines = (": ".join(filter(None, (node.name, ", ".join(weight_shapes)))), shapes.get(node.output[0], ""))
        reads = tuple(name for name in node.input if name not in weights)
        yield Box(node.op_type, lines, COLOURS.get(node.op_type, PLAIN), reads, tuple(node.output))
    yield Box(last.name, (_kind(last), shapes[last.name]), END, (last.name,), ())


def _kind(value: onnx.ValueInfoProto) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _shape(value: onnx.ValueInfoProto) -> str:
    return _times([dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim])


def _times(sizes: Sequence[str]) -> str:
    return " × ".join(sizes) or "scalar"


def _rows(boxes: Sequence[Box]) -> list[int]:
    """The row of each box: one below the lowest of those it reads. The nodes of a graph are in topological order."""
    row_of: dict[str, int] = {}
    rows = []
    for box in boxes:
        rows.append(1 + max((row_of[name] for name in box.reads if name in row_of), default=-1))
        row_of |= dict.fromkeys(box.writes, rows[-1])
    return rows


def _last_readers(boxes: Sequence[Box], rows: Sequence[int]) -> list[int]:
    """The lowest row that reads a value of each box."""
    lowest: dict[str, int] = {}
    for box, row in zip(boxes, rows, strict=True):
        lowest |= {name: max(row, lowest.get(name, 0)) for name in box.reads}
    return [max((lowest.get(name, 0) for name in box.writes), default=0) for box in boxes]


def _places(rows: Sequence[int], last_readers: Sequence[int]) -> list[tuple[float, float]]:
    """The horizontal centre of each box, relative to that of the drawing, and its upper edge.

    The box with the longest connection is the rightmost of its row, as that is drawn on the right.
    """
    places: dict[int, tuple[float, float]] = {}
    ordered = sorted(range(len(rows)), key=lambda index: (rows[index], last_readers[index]))
    for row, members in groupby(ordered, key=lambda index: rows[index]):
        indices = [*members]
        for column, index in enumerate(indices):
            x = (column - (len(indices) - 1) / 2) * (WIDTH + GAP)
            places[index] = (x, MARGIN + row * (HEIGHT + GAP))
    return [places[index] for index in range(len(rows))]


def _picture(width: float, height: float, name: str) -> Element:
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    picture = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "font-family": "system-ui, sans-serif"})
    SubElement(picture, "title").text = name
    head = {"id": "head", "viewBox": "0 0 8 8", "refX": "7", "refY": "4", "markerWidth": "7", "markerHeight": "7"}
    marker = SubElement(SubElement(picture, "defs"), "marker", {**head, "orient": "auto"})
    SubElement(marker, "path", {"d": "M0 0 L8 4 L0 8 z", "fill": LINE})
    SubElement(picture, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    return picture


def _connect(
    picture: Element, boxes: Sequence[Box], rows: Sequence[int], places: Sequence[tuple[float, float]], middle: float
) -> None:
    """A line from the box that writes a value to each that reads it."""
    writers = {name: index for index, box in enumerate(boxes) for name in box.writes}
    for index, box in enumerate(boxes):
        for name in box.reads:
            if (writer := writers.get(name)) is not None:
                skips = rows[index] - rows[writer] > 1
                path = _around if skips else _down
                line = {"d": path(places[writer], places[index], middle), "class": "skip" if skips else "next"}
                style = {"fill": "none", "stroke": LINE, "stroke-width": "1.5", "marker-end": "url(#head)"}
                SubElement(picture, "path", {**line, **style})


def _down(start: tuple[float, float], end: tuple[float, float], middle: float) -> str:
    """A path from the lower edge of a box to the upper edge of the next."""
    (x1, y1), (x2, y2) = (start[0] + middle, start[1] + HEIGHT), (end[0] + middle, end[1])
    half = (y1 + y2) / 2
    return f"M{x1:g} {y1:g} C{x1:g} {half:g} {x2:g} {half:g} {x2:g} {y2:g}"


def _around(start: tuple[float, float], end: tuple[float, float], middle: float) -> str:
    """A path from the right edge of a box to that of another one, beside those between."""
    (x1, y1), (x2, y2) = ((x + middle + WIDTH / 2, y + HEIGHT / 2) for x, y in (start, end))
    side = max(x1, x2) + SKIP_WIDTH
    return f"M{x1:g} {y1:g} C{side:g} {y1:g} {side:g} {y2:g} {x2:g} {y2:g}"


def _draw_box(picture: Element, box: Box, x: float, y: float) -> None:
    edge = {"x": f"{x - WIDTH / 2:g}", "y": f"{y:g}", "width": str(WIDTH), "height": str(HEIGHT)}
    looks = {"rx": "29" if box.colour == END else "6", "fill": box.colour, "stroke": LINE}
    SubElement(picture, "rect", {**edge, **looks})
    styles = ({"font-size": "14", "font-weight": "600"}, {"font-size": "11", "fill": LINE}, {"font-size": "12"})
    for line, (text, style) in enumerate(zip((box.title, *box.lines), styles, strict=True)):
        place = {"x": f"{x:g}", "y": f"{y + 18 + 16 * line:g}", "text-anchor": "middle"}
        SubElement(picture, "text", {**place, **style}).text = text
