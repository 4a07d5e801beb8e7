"""Tables as offices in Europe export them: read correctly, or rejected with the parameter that resolves it."""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from models.errors import InputError
from tests.pipelines.sources.test_csv import load, load_parquet

NAN = np.nan


class Case(NamedTuple):
    """The content of a file, the inputs read from it, and words of the notes; or words of the error."""

    content: str | bytes
    inputs: Any = None
    notes: tuple[str, ...] = ()
    error: str = ""
    given: Mapping[str, Any] = MappingProxyType({})
    name: str = "export.csv"


SEMICOLONS = "columns are separated by the semicolon character (data.separator)"
COMMAS = "numbers are read with decimal commas (data.decimal)"
PLAIN = [[1.5, 0], [2.25, 1]]
UMLAUTS = "größe;farbe;price\n1,5;blau;10,5\n2,25;weiß;11,25\n"
CASES = {
    "semicolons and decimal commas": Case("a;b;price\n1,5;x;10,5\n2,25;y;11,25\n", PLAIN, (SEMICOLONS, COMMAS)),
    "semicolons and decimal points": Case("a;b;price\n1.5;x;10.5\n2.25;y;11.25\n", PLAIN, (SEMICOLONS,)),
    "tabs in a .csv": Case(
        "a\tb\tprice\n1,5\tx\t10,5\n2,25\ty\t11,25\n",
        PLAIN,
        ("columns are separated by the tab character (data.separator)", COMMAS),
    ),
    "commas in a .tsv": Case(
        "a,b,price\n1.5,x,10.5\n2.25,y,11.25\n",
        PLAIN,
        ("columns are separated by the comma character (data.separator)",),
        name="export.tsv",
    ),
    "pipes": Case(
        "a|b|price\n1.5|x|10.5\n2.25|y|11.25\n",
        PLAIN,
        ("columns are separated by the pipe character (data.separator)",),
    ),
    "decimal commas in quotes": Case('a,b,price\n"1,5",x,"10,5"\n"2,25",y,"11,25"\n', PLAIN, (COMMAS,)),
    "semicolons within quoted texts": Case('a,b,price\n1.5,"x;1",10.5\n2.25,"y;2;3",11.25\n', PLAIN),
    "UTF-16 with a byte order mark": Case(
        UMLAUTS.encode("utf-16"),
        PLAIN,
        ("the file is read as utf-16 because of its byte order mark (data.encoding)", SEMICOLONS, COMMAS),
    ),
    "UTF-16 without a mark": Case(UMLAUTS.encode("utf-16-le"), error="set data.encoding .* such as"),
    "UTF-16 without a mark, named": Case(
        UMLAUTS.encode("utf-16-le"), PLAIN, (SEMICOLONS, COMMAS), given={"encoding": "utf-16-le"}
    ),
    "Windows-1252": Case(
        UMLAUTS.encode("windows-1252"), error="not utf-8: byte 0xf6 at position 2; set data.encoding .* windows-1252"
    ),
    "Windows-1252, named": Case(
        UMLAUTS.encode("windows-1252"), PLAIN, (SEMICOLONS, COMMAS), given={"encoding": "windows-1252"}
    ),
    "thousands with points": Case(
        "a;price\n1.234,5;1\n-12.345.678,25;2\n",
        [[1234.5], [-12345678.25]],
        (SEMICOLONS, COMMAS, "column 'a' holds thousands separators: '1.234,5' is read as 1234.5"),
    ),
    "thousands with narrow spaces": Case(
        "a;price\n1\u202f234,5;1,5\n7;2,5\n", [[1234.5], [7]], (SEMICOLONS, COMMAS, "'1\u202f234,5' is read as 1234.5")
    ),
    "thousands with apostrophes": Case(
        "a;price\n1'234.5;1.5\n7;2.5\n", [[1234.5], [7]], (SEMICOLONS, "read as 1234.5")
    ),
    "thousands with commas": Case(
        'a,price\n"1,234",1.5\n7,2.5\n',
        [[1234], [7]],
        ("'1,234' is read as 1234; data.categories reads it as a category, data.decimal = comma as a fraction",),
    ),
    "a fraction or thousands": Case("a;price\n1,234;1\n5,678;2\n", error="'1,234' in column 'a' .*; set data.decimal"),
    "a fraction, as told": Case("a;price\n1,234;1\n5,678;2\n", [[1.234], [5.678]], given={"decimal": "comma"}),
    "two decimal marks": Case(
        "a;b;price\n1,5;1.5;1\n2,5;2.5;2\n",
        error="'1,5' in column 'a' and '1.5' in column 'b' have different decimal marks; set data.decimal",
    ),
    "percent": Case(
        "a;price\n12,5 %;1,5\n7%;2,5\n;3,5\n",
        [[12.5], [7], [NAN]],
        (SEMICOLONS, COMMAS, "column 'a' holds percentages: '12,5 %' is read as 12.5"),
    ),
    "amounts of money": Case(
        "a;b;c;price\n1.234,50 €;€ -3,5;12,5\u00a0zł;1,5\n-7€;-€1;7 zł;2,5\n;;;3,5\n",
        [[1234.5, -3.5, 12.5], [-7, -1, 7], [NAN] * 3],
        (
            SEMICOLONS,
            COMMAS,
            "column 'a' holds amounts of money: '1.234,50 €' is read as 1234.5",
            "'€ -3,5' is read as -3.5",
        ),
    ),
    "one currency in two notations": Case("a,price\n5 kr,1.5\n7 kr.,2.5\n", [[5], [7]], ("'5 kr' is read as 5",)),
    "amounts of several currencies are categories": Case("a,price\n€100,1.5\n$100,2.5\n£3,3.5\n", [[2], [0], [1]]),
    "leading zeros": Case(
        "zip,price\n01000,1.5\n99084,2.5\n",
        [[1000], [99084]],
        ("column 'zip' holds leading zeros: '01000' is read as 1000; data.categories reads it as a category",),
    ),
    "leading zeros as categories": Case(
        "zip,price\n99084,1.5\n01000,2.5\n", [[1], [0]], given={"categories": ("zip",)}
    ),
    "dates with points": Case(
        "day,price\n31.1.2026,1.5\n", error="column 'day' holds dates .*data.features, or .*data.dates"
    ),
    "dates with points, listed": Case(
        "day,price\n31.1.2026,1.5\n1.2.99,2.5\n,3.5\n",
        [[2026, 1, 6], [1999, 2, 1], [NAN] * 3],
        given={"dates": ("day",)},
    ),
    "dates with slashes": Case(
        "day,price\n13/1/2026,1.5\n1/2/2026,2.5\n", [[2026, 1, 2], [2026, 2, 7]], given={"dates": ("day",)}
    ),
    "dates with slashes and the month first": Case(
        "day,price\n1/13/2026,1.5\n1/2/2026,2.5\n", [[2026, 1, 2], [2026, 1, 5]], given={"dates": ("day",)}
    ),
    "ambiguous dates": Case(
        "day,price\n1/2/2026,1.5\n",
        error="'1/2/2026' in row 1: .* ambiguous; set data.day_first",
        given={"dates": ("day",)},
    ),
    "ambiguous dates, as told": Case(
        "day,price\n1/2/2026,1.5\n3/4/2026,2.5\n",
        [[2026, 2, 7], [2026, 4, 5]],
        given={"dates": ("day",), "day_first": True},
    ),
    "ISO dates with times": Case(
        "day,price\n2026-01-31T10:00:00Z,1.5\n2024-02-29 23:59,2.5\n",
        [[2026, 1, 6], [2024, 2, 4]],
        given={"dates": ("day",)},
    ),
    "a date that does not exist": Case(
        "day,price\n30.2.2026,1.5\n", error="row 1: '30.2.2026'; allowed: dates that exist", given={"dates": ("day",)}
    ),
    "no dates": Case("a,price\n1,1.5\n", error="listed in data.dates and holds '1' in row 1", given={"dates": ("a",)}),
    "dates of a column that is not read": Case(
        "a,price\n1,1.5\n", error="data.dates: day; allowed: columns that are read: a", given={"dates": ("day",)}
    ),
    "a feature of a date that is a column": Case(
        "day,day_year,price\n2026-01-31,1,1.5\n", error="column 'day_year' is also a feature", given={"dates": ("day",)}
    ),
    "two separators": Case("a,b;price\n1,5;2\n", error="separator is ambiguous: comma gives 2.*; set data.separator"),
    "a line for Excel": Case("sep=;\na;b;price\n1,5;x;2\n", error="first line, 'sep=;', is an instruction to Excel"),
    "two separators, as told": Case(
        "a,b;price\n1,5;2\n2,5;3\n", [[1.5], [2.5]], (COMMAS,), given={"separator": "semicolon"}
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_table_is_read_correctly_or_rejected_with_the_parameter_that_resolves_it(tmp_path, case):
    if case.error:
        with pytest.raises(InputError, match=case.error):
            load(tmp_path, case.content, case.name, **case.given)
        return
    raw = load(tmp_path, case.content, case.name, task="regression", **case.given)
    np.testing.assert_array_equal(raw.train_inputs, np.float32(case.inputs))
    for words in case.notes:
        assert any(words in note for note in raw.notes), raw.notes
    if not case.notes and not case.given:
        assert raw.notes == ()


def test_dates_of_parquet_are_features(tmp_path):
    days = pa.array([date(2026, 1, 31), None, date(1969, 12, 31)], pa.date32())
    frame = pa.table({"day": days, "price": [1.5, 2, 3]})
    with pytest.raises(InputError, match="column 'day' holds dates"):
        load_parquet(tmp_path, frame)
    raw = load_parquet(tmp_path, frame, dates=("day",))
    assert raw.table.features == ("day_year", "day_month", "day_weekday")
    np.testing.assert_array_equal(raw.train_inputs, [[2026, 1, 6], [NAN] * 3, [1969, 12, 3]])


def test_a_column_that_is_a_number_in_its_first_rows_only(tmp_path):
    """The first rows are tried before the others."""
    numbers = "".join(f"{row},{row / 7}\n" for row in range(1500))
    with pytest.raises(InputError, match=r"'x' in row 1501, while 1500 of 1501 values are numbers; .*data\.categories"):
        load(tmp_path, f"a,price\n{numbers}x,2\n")


def test_versions_are_no_dates(tmp_path):
    raw = load(tmp_path, "a,price\n1.2.10,1.5\n1.10.3,2.5\n")
    assert raw.table.categories == (("1.10.3", "1.2.10"),)
