"""Encoding and column separator of a text file with a table: as configured, or detected from its first bytes."""

import codecs
import csv
import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from pipelines.config.params import DataSource

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
# Those of Excel, which has one per region.
LEGACY = "windows-1252 (Western Europe), windows-1250 (Central Europe) or windows-1251 (Cyrillic)"
MARKS = (  # byte order marks; those of UTF-32 begin like those of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE = 1 << 16  # bytes read for the detection of the separator
BLOCK = 1 << 20  # bytes decoded at a time
ROWS = 50
EXCEL = "sep="  # start of a line that names the separator, which only Excel reads


class TextFormat(NamedTuple):
    """Name of a Python codec and a separator of one character; `notes` state what was detected."""

    encoding: str
    separator: str
    notes: tuple[str, ...]


def detect(path: Path, config: DataSource) -> TextFormat:
    """The format of a CSV or TSV file; `data.encoding` and `data.separator` take precedence.

    UTF-8 is assumed, or the encoding of a byte order mark. Raises InputError, with the parameter that resolves it, for
    other bytes and if more than one separator splits all rows into the same number of columns; also if
    the first line is not a header.
    """
    encoding = config.encoding or _encoding(path)
    _require_decodable(path, encoding)
    usual = "tab" if path.suffix.lower() == ".tsv" else "comma"
    rows = _first_rows(path, encoding)
    _require_header(path, rows)
    separator = config.separator or _separator(path, rows, usual)
    notes = []
    if config.encoding is None and encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"the file is read as {encoding} because of its byte order mark (data.encoding)")
    if config.separator is None and separator != usual:
        notes.append(f"columns are separated by the {separator} character (data.separator)")
    return TextFormat(encoding, SEPARATORS[separator], tuple(notes))


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in MARKS if start.startswith(mark)), "utf-8")


def _require_decodable(path: Path, encoding: str) -> None:
    """Decode the whole file in blocks. Raises InputError with the position of the first invalid byte."""
    decoder, position = codecs.getincrementaldecoder(encoding)(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block)
            except UnicodeError as error:
                example = _wide_encoding(block) if b"\0" in block[:SAMPLE] else LEGACY
                problem = _problem(error, position - pending)
                raise InputError(f"{path}: not {encoding}{problem}; {_advice(example)}") from error
            if "\0" in text:
                raise InputError(f"{path}: NUL characters in {encoding} text; {_advice(_wide_encoding(block))}")
            position += len(block)
    if decoder.getstate()[0]:
        raise InputError(f"{path}: ends within a character in {encoding}; {_advice(LEGACY)}")


def _problem(error: UnicodeError, position: int) -> str:
    """The byte that cannot be decoded, where `position` is that of the first byte in the error."""
    if not isinstance(error, UnicodeDecodeError):
        return f" ({error})"
    return f": byte 0x{error.object[error.start]:02x} at position {position + error.start}"


def _wide_encoding(block: bytes) -> str:
    """The encoding, without a byte order mark, of text with zero bytes, by their positions within four bytes."""
    zeros = [block[start::4].count(0) for start in range(4)]
    most = len(block) / 8
    if min(zeros[2:]) > most:
        return "utf-32-le"
    if min(zeros[:2]) > most:
        return "utf-32-be"
    return "utf-16-le" if zeros[1] + zeros[3] >= zeros[0] + zeros[2] else "utf-16-be"


def _advice(example: str) -> str:
    return f"set data.encoding to the encoding of the file, such as {example}"


def _require_header(path: Path, rows: str) -> None:
    if rows.startswith(EXCEL):
        line = rows.splitlines()[0][:40]
        raise InputError(f"{path}: the first line, '{line}', is an instruction to Excel; remove it; allowed: a header")


def _separator(path: Path, rows: str, usual: str) -> str:
    """The only separator that splits the first rows into equally many columns.

    If none does: the one that splits most rows so, and the header if possible, or else `usual`.
    """
    fitting = [name for name, character in SEPARATORS.items() if _columns(rows, character) > 1]
    if len(fitting) > 1:
        columns = ", ".join(f"{name} gives {_columns(rows, SEPARATORS[name])} columns" for name in fitting)
        raise InputError(f"{path}: the separator is ambiguous: {columns}; set data.separator to one of them")
    if fitting:
        return fitting[0]
    regular = {name: _regularity(rows, character) for name, character in SEPARATORS.items()}
    best = max(regular, key=lambda name: (regular[name], name == usual))
    return best if any(regular[best]) else usual


def _first_rows(path: Path, encoding: str) -> str:
    """Complete lines from the start of the file, or its first SAMPLE bytes if they hold a single line."""
    with path.open("rb") as file:
        sample, complete = file.read(SAMPLE), not file.read(1)
    text = codecs.getincrementaldecoder(encoding)().decode(sample, final=False)
    return text if complete else text[: text.rfind("\n") + 1] or text


def _columns(text: str, separator: str) -> int:
    """The number of columns if all of the first rows have it, else 0."""
    widths = set(_widths(text, separator))
    return widths.pop() if len(widths) == 1 else 0


def _regularity(text: str, separator: str) -> tuple[bool, int]:
    """Whether the header has the usual number of columns of most of the first rows, above 1; how many rows have it."""
    widths = _widths(text, separator)
    width, count = Counter(widths).most_common(1)[0] if widths else (0, 0)
    return (widths[0] == width, count) if width > 1 and count > len(widths) / 2 else (False, 0)


def _widths(text: str, separator: str) -> list[int]:
    """The numbers of columns of the first rows; empty lines do not count."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    except csv.Error:  # for example a field larger than the limit of the module
        return []
    return [len(row) for row in rows[:ROWS]]
