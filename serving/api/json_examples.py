"""JSON values -> one array of raw examples. Strict: nothing is cut, rounded, reshaped or guessed."""

from itertools import chain
from typing import Any

import numpy as np

from models.spec import DataSpec
from serving.api import table_rows
from serving.api.json_values import describe, is_float32
from serving.api.schemas import PIXEL_MAX
from serving.errors import invalid


def parse(values: Any, spec: DataSpec, most: int) -> np.ndarray:
    """Nested lists [N][H][W] or [N][H][W][C], rows [N][F] or objects by feature name -> [N, *spec.shape].

    Raises RequestError, naming the first wrong place, unless there are 1 to `most` examples of exactly the
    spec's shape: whole numbers 0 to 255 for uint8; for tables as `rows.parse` says.
    """
    if not isinstance(values, list) or not values:
        raise invalid(f"inputs: found {describe(values)}; allowed: a list of 1 to {most} examples")
    if len(values) > most:
        raise invalid(f"inputs: found {len(values)} examples; allowed: 1 to {most} in one request")
    if spec.kind == "tabular" and isinstance(values[0], dict):
        return table_rows.parse(values, spec)
    shape = _written_shape(values, spec.shape)
    flat = _flatten(values, shape)
    return _numbers(flat, shape, spec).reshape(len(values), *spec.shape)


def from_flat(values: list[Any], spec: DataSpec) -> np.ndarray:
    """The numbers of whole examples in one list -> [N, *spec.shape]. Raises RequestError as `parse` does."""
    return _numbers(values, spec.shape, spec).reshape(-1, *spec.shape)


def check_finite(inputs: np.ndarray, spec: DataSpec) -> None:
    """Raise RequestError where a float32 array holds infinity, or NaN where no value may be missing."""
    if inputs.dtype == np.float32 and not np.isfinite(inputs).all():
        may_be_missing = np.array([value is not None for value in spec.fill])
        if np.isinf(inputs).any() or (np.isnan(inputs) & ~may_be_missing).any():
            raise invalid("inputs: found NaN or infinity; allowed: finite numbers, and NaN where values may be missing")


def _numbers(flat: list[Any], shape: tuple[int, ...], spec: DataSpec) -> np.ndarray:
    """The checked numbers as [n] in the spec's dtype."""
    return _bytes(flat, shape) if spec.dtype == "uint8" else _floats(flat, shape)


def _written_shape(values: list[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one example as it is written: a single channel may be left out."""
    depth, first = 0, values[0]
    while isinstance(first, list) and first and depth <= len(shape):
        depth, first = depth + 1, first[0]
    return shape[:-1] if len(shape) == 3 and shape[-1] == 1 and depth == 2 else shape


def _flatten(values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """All numbers in one list, once every level has exactly the right length."""
    level = values
    for depth, size in enumerate(shape):
        inner = _only(level) if size == 1 else _joined(level, size)
        if inner is None:
            raise invalid(_where_shape(values, shape[: depth + 1]))
        level = inner
    return level


def _joined(level: list[Any], size: int) -> list[Any] | None:
    """The content of lists of this size, or nothing where one is something else."""
    if list(map(type, level)).count(list) != len(level) or set(map(len, level)) != {size}:
        return None
    return list(chain.from_iterable(level))


def _only(level: list[Any]) -> list[Any] | None:
    """The same for lists of one, such as single channels, ten times as fast. What is in a text of one is no number."""
    try:
        return [one for (one,) in level]
    except (TypeError, ValueError):
        return None


def _bytes(flat: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers 0 to 255 -> uint8 [n]. `bytes` refuses everything else but booleans."""
    if list(map(type, flat)).count(int) == len(flat):
        try:
            return np.frombuffer(bytes(flat), np.uint8)
        except ValueError:
            pass
    place, value = next((i, v) for i, v in enumerate(flat) if type(v) is not int or not 0 <= v <= PIXEL_MAX)
    raise invalid(f"{_where(place, shape)}: found {describe(value)}; allowed: whole numbers from 0 to {PIXEL_MAX}")


def _floats(flat: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Finite numbers -> float32 [n]."""
    if set(map(type, flat)) <= {int, float}:
        with np.errstate(over="ignore"):
            array = np.array(flat, np.float64).astype(np.float32)
        if np.isfinite(array).all():
            return array
    place, value = next((i, v) for i, v in enumerate(flat) if not is_float32(v))
    raise invalid(f"{_where(place, shape)}: found {describe(value)}; allowed: finite numbers within float32")


def _where(place: int, shape: tuple[int, ...]) -> str:
    """The path of the number at `place` in the flat list, such as `inputs[0][3][5]`."""
    path = []
    for size in reversed(shape):
        place, index = divmod(place, size)
        path.append(index)
    return "inputs" + "".join(f"[{index}]" for index in (place, *reversed(path)))


def _where_shape(values: list[Any], sizes: tuple[int, ...]) -> str:
    """A sentence about the first value at depth len(sizes) that is not a list of the last size."""
    level: list[tuple[str, Any]] = [(f"inputs[{index}]", value) for index, value in enumerate(values)]
    for _ in sizes[:-1]:
        level = [(f"{path}[{index}]", inner) for path, value in level for index, inner in enumerate(value)]
    path, value = next((p, v) for p, v in level if not isinstance(v, list) or len(v) != sizes[-1])
    return f"{path}: found {describe(value)}; allowed: a list of {sizes[-1]}"
