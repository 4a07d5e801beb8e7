"""JSON values -> one array of raw examples. Strict: no value is truncated, rounded, reshaped or converted."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from models.spec import UNKNOWN, DataSpec
from serving.api import table_rows
from serving.api.json_values import is_float32, summarize
from serving.api.schemas import PIXEL_MAX
from serving.errors import RequestError, invalid

BLOCK = 65_536  # values that are searched for a wrong one together


def parse(values: Any, spec: DataSpec, max_examples: int, may_have_booleans: bool = True) -> np.ndarray:
    """Nested lists [N][H][W] or [N][H][W][C], rows [N][F] or objects by feature name -> [N, *spec.shape].

    Raises RequestError, naming the first wrong value, unless there are 1 to `max_examples` examples of exactly the
    spec's shape: whole numbers 0 to 255 for uint8; for tables as in `table_rows.parse`. For uint8, looking for booleans
    takes as long as the rest.
    """
    if not isinstance(values, list) or not values:
        raise invalid(f"inputs: found {summarize(values)}; allowed: a list of 1 to {max_examples} examples")
    if len(values) > max_examples:
        raise invalid(f"inputs: found {len(values)} examples; allowed: 1 to {max_examples} in one request")
    if spec.kind == "tabular" and isinstance(values[0], dict):
        return table_rows.parse(values, spec)
    shape = _written_shape(values, spec.shape)
    flat = _flatten(values, shape)
    return _examples(flat, shape, spec, may_have_booleans)


def from_flat(values: list[Any], spec: DataSpec) -> np.ndarray:
    """The numbers of complete examples in one list -> [N, *spec.shape]. Raises RequestError as `parse` does."""
    return _examples(values, spec.shape, spec, may_have_booleans=True)


def check(inputs: np.ndarray, spec: DataSpec) -> None:
    """Raise RequestError for a value of [N, *spec.shape] that is no raw example's.

    That is infinity, NaN where no value may be missing, and a number that is not the code of a category.
    """
    if inputs.dtype == np.uint8:
        return
    _check_finite(inputs, spec)
    for position, names in enumerate(spec.categories):
        if names:
            _check_codes(inputs, position, spec)


def _check_finite(inputs: np.ndarray, spec: DataSpec) -> None:
    if not np.isfinite(inputs).all():
        may_be_missing = np.array([value is not None for value in spec.fill])
        if np.isinf(inputs).any() or (np.isnan(inputs) & ~may_be_missing).any():
            raise invalid("inputs: found NaN or infinity; allowed: finite numbers, and NaN where values may be missing")


def _check_codes(inputs: np.ndarray, position: int, spec: DataSpec) -> None:
    """Raise RequestError unless a column of [N, F] has whole numbers of its categories, UNKNOWN or NaN only."""
    column, most = inputs[:, position], len(spec.categories[position]) - 1
    valid = np.isnan(column) | ((column == np.floor(column)) & (column >= UNKNOWN) & (column <= most))
    if not valid.all():
        row = int(valid.argmin())
        place = f"inputs[{row}][{position}] ({spec.features[position]!r})"
        allowed = f"a code from 0 to {most}, or {UNKNOWN:g} for an unknown category"
        raise invalid(f"{place}: found the number {column[row]:g}; allowed: {allowed}")


def _examples(flat: list[Any], shape: tuple[int, ...], spec: DataSpec, may_have_booleans: bool) -> np.ndarray:
    """The checked numbers as [N, *spec.shape] in the spec's dtype; `shape` is that of one example as written."""
    numbers = _uint8(flat, shape, may_have_booleans) if spec.dtype == "uint8" else _float32(flat, shape, spec)
    inputs = numbers.reshape(-1, *spec.shape)
    check(inputs, spec)
    return inputs


def _written_shape(values: list[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one example as written: a single channel may be omitted."""
    depth, first = 0, values[0]
    while isinstance(first, list) and first and depth <= len(shape):
        depth, first = depth + 1, first[0]
    return shape[:-1] if len(shape) == 3 and shape[-1] == 1 and depth == 2 else shape


def _flatten(values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """All numbers in one list, once every level has exactly the right length."""
    level = values
    for depth, size in enumerate(shape):
        inner = _unwrap(level) if size == 1 else _concatenate(level, size)
        if inner is None:
            raise invalid(_shape_error(values, shape[: depth + 1]))
        level = inner
    return level


def _concatenate(level: list[Any], size: int) -> list[Any] | None:
    """The concatenation of lists of this size; None if one is something else."""
    if list(map(type, level)).count(list) != len(level) or set(map(len, level)) != {size}:
        return None
    return list(chain.from_iterable(level))


def _unwrap(level: list[Any]) -> list[Any] | None:
    """The same for lists of one, such as single channels, ten times as fast. Strings of one fail later."""
    try:
        return [one for (one,) in level]
    except (TypeError, ValueError):
        return None


def _uint8(flat: list[Any], shape: tuple[int, ...], may_have_booleans: bool) -> np.ndarray:
    """Whole numbers 0 to 255 -> uint8 [n]."""
    if (pixels := _as_uint8(flat, may_have_booleans)) is not None:
        return pixels
    position = _first_wrong(
        flat, lambda block: _as_uint8(block) is not None, lambda v: type(v) is int and 0 <= v <= PIXEL_MAX
    )
    raise wrong_pixel(position, flat[position], shape)


def wrong_pixel(position: int, value: Any, shape: tuple[int, ...]) -> RequestError:
    """The error for the value at `position` among those of all images, of which each is written in `shape`."""
    allowed = f"whole numbers from 0 to {PIXEL_MAX}"
    return invalid(f"{_path(position, shape)}: found {summarize(value)}; allowed: {allowed}")


def _as_uint8(values: list[Any], may_have_booleans: bool = True) -> np.ndarray | None:
    """Whole numbers 0 to 255 as uint8 [n], or None if there is another value. `bytes` accepts only booleans beside."""
    if may_have_booleans and list(map(type, values)).count(int) != len(values):
        return None
    try:
        return np.frombuffer(bytes(values), np.uint8)
    except (ValueError, TypeError):
        return None


def _float32(flat: list[Any], shape: tuple[int, ...], spec: DataSpec) -> np.ndarray:
    """Finite numbers -> float32 [n]."""
    if (numbers := _as_float32(flat)) is not None:
        return numbers
    position = _first_wrong(flat, lambda block: _as_float32(block) is not None, is_float32)
    found = summarize(flat[position])
    objects = "; rows with the names of categories are objects by column name" if any(spec.categories) else ""
    raise invalid(f"{_path(position, shape)}: found {found}; allowed: finite numbers within float32{objects}")


def _as_float32(values: list[Any]) -> np.ndarray | None:
    """Numbers as float32 [n], or None if there is another value or one that is not finite."""
    if not set(map(type, values)) <= {int, float}:
        return None
    with np.errstate(over="ignore"):
        array = np.array(values, np.float64).astype(np.float32)
    return array if np.isfinite(array).all() else None


def _first_wrong(flat: list[Any], are_right: Callable[[list[Any]], bool], is_right: Callable[[Any], bool]) -> int:
    """The position of the first wrong value; whole blocks are checked ten times as fast as single values."""
    starts = range(0, len(flat), BLOCK)
    start = next(start for start in starts if not are_right(flat[start : start + BLOCK]))
    return next(position for position in range(start, len(flat)) if not is_right(flat[position]))


def _path(position: int, shape: tuple[int, ...]) -> str:
    """The path of the value at `position` among all values at its depth, such as `inputs[0][3][5]`."""
    indices = []
    for size in reversed(shape):
        position, index = divmod(position, size)
        indices.append(index)
    return "inputs" + "".join(f"[{index}]" for index in (position, *reversed(indices)))


def _shape_error(values: list[Any], sizes: tuple[int, ...]) -> str:
    """The message about the first value at depth len(sizes) that is not a list of the last size."""
    level = values
    for _ in sizes[:-1]:
        level = list(chain.from_iterable(level))
    position, value = next((i, v) for i, v in enumerate(level) if not isinstance(v, list) or len(v) != sizes[-1])
    return f"{_path(position, sizes[:-1])}: found {summarize(value)}; allowed: a list of {sizes[-1]}"
