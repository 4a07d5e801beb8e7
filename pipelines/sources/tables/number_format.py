"""Numbers as they are written in texts: decimal point or comma, thousands separators, percent and currency signs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.sources.tables.text_format import TextFormat

Decimal = Literal["point", "comma"]
MARK = {"point": ".", "comma": ","}
OTHER: dict[Decimal, Decimal] = {"point": "comma", "comma": "point"}
SPACES = " \u00a0\u202f'’"  # thousands separators besides the mark that is not the decimal one
HEAD = 1000  # rows that are tried first
EXPONENT = r"(?:e[+-]?\d+)?"
# What surrounds each number of a column, by kind; the sign of the number is kept.
CURRENCY = r"(?:\p{Sc}|EUR|CHF|zł|Kč|kr\.?|Ft|lei)"
UNITS = {
    "percentages": r"()[\s\p{Zs}]*%$",
    "amounts of money": rf"^([+-]?){CURRENCY}[\s\p{{Zs}}]*|[\s\p{{Zs}}]*{CURRENCY}$",
}


class Numbers(NamedTuple):
    """A text column whose values are all numbers, in Arrow's notation (1234.5), and a note on their interpretation."""

    texts: Any
    note: str


def is_text(array: Any) -> bool:
    """True if the values are of an Arrow string type."""
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def pattern(decimal: Decimal) -> str:
    """Regular expression of one number without thousands separators, as inf and nan are parsed by Arrow."""
    mark = rf"\{MARK[decimal]}"
    return rf"(?i)^[+-]?(?:(?:\d+{mark}?\d*|{mark}\d+){EXPONENT}|inf(?:inity)?|nan)$"


def note(decimal: Decimal, config: DataSource) -> list[str]:
    """A line if decimal commas were detected."""
    detected = decimal == "comma" and config.decimal is None
    return ["numbers are read with decimal commas (data.decimal)"] if detected else []


def decimal(path: Path, columns: Mapping[str, Any], text: TextFormat | None) -> Decimal:
    """The decimal mark of all text `columns`, given the format of a text file.

    Raises InputError, with columns and values, if they disagree, or if only the separator of a file with semicolons
    suggests whether 1,234 is a fraction.
    """
    votes: dict[Decimal, tuple[str, str]] = {}
    ambiguous = None
    for name, texts in columns.items():
        fitting = [mark for mark in OTHER if parse(texts, mark)]
        marked = pc.match_substring_regex(texts, "[.,]")
        if not fitting or not pc.any(marked).as_py():
            continue
        example = name, str(texts[pc.index(marked, True).as_py()])
        if len(fitting) == 1:
            votes.setdefault(fitting[0], example)
        else:
            ambiguous = ambiguous or example
    if len(votes) == len(OTHER):
        found = " and ".join(f"'{value}' in column '{name}'" for name, value in votes.values())
        raise InputError(f"{path}: {found} have different decimal marks; set data.decimal to point or comma")
    if votes:
        return next(iter(votes))
    if ambiguous and text and text.separator == ";":
        problem = f"'{ambiguous[1]}' in column '{ambiguous[0]}' is a fraction or has a thousands separator"
        raise InputError(f"{path}: {problem}; set data.decimal to point or comma")
    return "point"


def parse(texts: Any, decimal: Decimal) -> Numbers | None:
    """The texts without units and thousands separators, if all of them are then numbers; else None.

    Only groups of three digits are thousands. Percent or currency signs are removed where every value has the same.
    """
    known = texts.drop_null()
    unit = next((name for name, expression in UNITS.items() if _all_match(known, expression)), "")
    if unit == "amounts of money" and _currency_signs(known) > 1:
        unit = ""
    texts = _without(unit, texts)
    plain = pattern(decimal)
    for group in ("", MARK[OTHER[decimal]], *SPACES):
        grouped = rf"(?i)^[+-]?[1-9]\d{{0,2}}(?:[{group}]\d{{3}})+(?:\{MARK[decimal]}\d*)?$" if group else plain
        expression = f"(?:{plain})|(?:{grouped})"
        if _all_match(texts, expression):
            return Numbers(_in_arrow_notation(texts, group, decimal), _note(known, unit, group, decimal))
    return None


def _all_match(texts: Any, expression: str) -> bool:
    return all(pc.all(pc.match_substring_regex(part, expression)).as_py() for part in (texts[:HEAD], texts))


def _currency_signs(texts: Any) -> int:
    signs = pc.struct_field(pc.extract_regex(texts, rf"(?P<sign>{CURRENCY})"), "sign")
    return len(pc.unique(pc.utf8_rtrim(signs, ".")))  # kr and kr. are the same


def _without(unit: str, texts: Any) -> Any:
    return pc.replace_substring_regex(texts, UNITS[unit], r"\1") if unit else texts


def _in_arrow_notation(texts: Any, group: str, decimal: Decimal) -> Any:
    if group:
        texts = pc.replace_substring(texts, group, "")
    return texts if decimal == "point" else pc.replace_substring(texts, ",", ".")


def _note(texts: Any, unit: str, group: str, decimal: Decimal) -> str:
    """The interpretation of units, thousands separators and leading zeros, with the first example."""
    leading_zeros = pc.match_substring_regex(texts, r"^[+-]?0\d")
    if unit:
        kind, row = unit, 0
    elif group:
        kind, row = "thousands separators", pc.index(pc.match_substring(texts, group), True).as_py()
    elif pc.any(leading_zeros).as_py():
        kind, row = "leading zeros", pc.index(leading_zeros, True).as_py()
    else:
        return ""
    text = str(texts[row])
    number = pc.cast(_in_arrow_notation(_without(unit, pa.array([text])), group, decimal), pa.float64())
    other = OTHER[decimal]
    fraction = f", data.decimal = {other} as a fraction" if group and _all_match(texts, pattern(other)) else ""
    change = f"data.categories reads it as a category{fraction}"
    return f"holds {kind}: '{text}' is read as {number[0].as_py():.15g}; {change}"
