"""Tables as offices in Europe export them: read correctly, or rejected with the parameter that resolves it."""

import re
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
    "a quoted text after a space": Case(
        'a;b;price\n1,5; "x";10,5\n2,25;y;11,25\n',
        error="column 'b', row 1: \"x\" is quoted after a space; allowed: ",
    ),
    "a quoted name after a space": Case('a, "b",price\n1.5,x,10.5\n', error='the header: "b" is quoted after a space'),
    "quotes within quotes, and for inches": Case('a,b,price\n1.5,"""x""",10.5\n2.25, ",11.25\n', [[1.5, 1], [2.25, 0]]),
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
    **{
        f"{encoding} without a mark, {given}": Case(
            UMLAUTS.encode(encoding), error=f"set data.encoding .* such as {encoding}$", given={"encoding": given}
        )
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
        for given in (None, "utf-16", "utf-32")
    },
    "UTF-16 without a mark, named": Case(
        UMLAUTS.encode("utf-16-le"), PLAIN, (SEMICOLONS, COMMAS), given={"encoding": "utf-16-le"}
    ),
    "Windows-1252": Case(
        UMLAUTS.encode("windows-1252"),
        error="byte 0xf6 at position 2; set data.encoding .* windows-1252 .*, windows-1250 .* or windows-1251 ",
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
    "two decimal marks, one named": Case(
        "a;b;price\n1,5;1.5;1\n2,5;2.5;2\n",
        error="column 'b': '1.5' in row 1, in a notation that .*data.categories",
        given={"decimal": "comma"},
    ),
    "two decimal marks in a column": Case(
        "a;price\n1,5;1,5\n2.5;2,5\n", error="column 'a': '2.5' in row 2, in a notation that"
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
    "amounts of money in other alphabets and by code": Case(
        "a;b;price\n1 234,50 лв.;1.234,50 PLN;1,5\n7 лв;PLN 7;2,5\n",
        [[1234.5, 1234.5], [7, 7]],
        (SEMICOLONS, COMMAS, "'1 234,50 лв.' is read as 1234.5", "'1.234,50 PLN' is read as 1234.5"),
    ),
    "amounts of several currencies": Case(
        "a,price\n€100,1.5\n$100,2.5\n£3,3.5\n", error="'€100' in row 1, in a notation that .*; or .*data.categories"
    ),
    "a target of several currencies": Case(
        "a,price\n1,€100\n2,$100\n3,£3\n", error="'€100' in row 1, .*; for classes, list it in data.categories; or ch"
    ),
    "percent beside fractions": Case(
        "a;price\n0,12;1,5\n12 %;2,5\n", error="column 'a': '12 %' in row 2, in a notation that .*data.categories"
    ),
    "negative numbers in parentheses": Case(
        "a;price\n1,5;1,5\n(1,5);2,5\n", error=r"'\(1,5\)' in row 2, in a notation"
    ),
    "prices with dashes": Case("a;price\n5,-;1,5\n17,-;2,5\n", error="'5,-' in row 1, in a notation"),
    "minus signs at the end": Case(
        "a;price\n1.234,50;1,5\n1,50-;2,5\n5-;3,5\n",
        [[1234.5], [-1.5], [-5]],
        (SEMICOLONS, COMMAS, "column 'a' holds thousands separators"),
    ),
    "only minus signs at the end": Case(
        "a;price\n50-;1,5\n",
        [[-50]],
        (SEMICOLONS, COMMAS, "minus signs at the end: '50-' is read as -50; data.categories"),
    ),
    "typographic minus signs": Case("a;price\n\u22121,5;1,5\n2;2,5\n", [[-1.5], [2]], (SEMICOLONS, COMMAS)),
    "exponents or codes": Case(
        "a,price\n1E5,1.5\n2E1,2.5\n", [[1e5], [20]], ("exponents: '1E5' is read as 100000; data.categories",)
    ),
    "points in a file with tabs": Case(
        "a\tprice\n1.234\t1\n5.678\t2\n",
        [[1.234], [5.678]],
        ("tab character", "'1.234' in column 'a' is read as a fraction; data.decimal = comma reads the point as"),
    ),
    "numbers with a unit": Case(
        "a;price\n50,5 m²;1,5\n61 m²;2,5\n",
        [[0], [1]],
        (SEMICOLONS, COMMAS, "column 'a' holds numbers with text: '50,5 m²' is read as a category; remove the text"),
    ),
    "feet are no forints": Case(
        "a,price\n6 ft,1.5\n5 ft,2.5\n",
        [[1], [0]],
        ("column 'a' holds numbers with text: '6 ft' is read as a category",),
    ),
    "a row of units": Case(
        "a;price\nm²;EUR\n" + "".join(f"{row},5;{row},25\n" for row in range(20)),
        error="'price': 'EUR' in row 1, while 20 of 21 values are numbers",
    ),
    "numbers with units and thousands beside text": Case(
        "a;b;price\n12 %;1.234,5;1,5\n13 %;2.345,5;2,5\n-;?;3,5\n",
        [[1, 0], [2, 1], [0, 2]],
        (SEMICOLONS, COMMAS, "'a' holds '-' in row 3, while 2 of 3 values are numbers", "'b' holds '?' in row 3"),
    ),
    "only columns with dashes": Case(
        "a;price\n1,5;1\n2,25;2\n-;3\n",
        [[1], [2], [0]],
        (SEMICOLONS, COMMAS, "'a' holds '-' in row 3, while 2 of 3 values are numbers; .* data.missing"),
    ),
    "dashes that are missing values": Case(
        "a;b;day;price\n1,5;-;31.1.2026;1,5\n-;x;k. A.;2,5\n",
        [[1.5, NAN, 2026, 1, 6], [NAN, 0] + [NAN] * 3],
        given={"missing": ("-", "k. A."), "dates": ("day",)},
    ),
    "a dash among categories": Case(
        "a,price\nx,1.5\n-,2.5\ny,3.5\n", [[1], [0], [2]], ("'-' in 1 row, read as a category; data.missing reads it",)
    ),
    "plus and minus": Case("a,price\n+,1.5\n-,2.5\n", [[0], [1]]),
    "errors of spreadsheets": Case(
        "a,b,price\n#NV,x,1.5\n1.5,#DIV/0!,2.5\n#N/D,#NAME?,3.5\n2.5,#WERT!,4.5\n",
        [[NAN, 0], [1.5, NAN], [NAN] * 2, [2.5, NAN]],
    ),
    "hashes that are no errors": Case("a,price\n#1,1.5\n#A!b,2.5\n", [[0], [1]]),
    "separators at the end of all lines": Case(
        "a;b;price;;\n1,5;x;10,5;;\n2,25;y;11,25;;\n",
        PLAIN,
        (SEMICOLONS, COMMAS, "columns at the end without name and values are left out: 2"),
    ),
    "a value without a name": Case("a;price;\n1,5;10,5;\n2,25;11,25;7\n", error="column 3 has no name"),
    "a cell too many in one row": Case(
        "a;b;price\n" + "".join(f"{row},5;y;1{';z' if row == 30 else ''}\n" for row in range(60)),
        error=r"columns in row 31 under the header: 4, in the header: 3 \(30,5;y;1;z\); allowed: .*separated by ';'",
    ),
    "a title above the header": Case(
        "Prices of 2026\na;b;price\n" + "1,5;x;10,5\n" * 20,
        error=r"row 1 under the header: 3, in the header: 1 \(a;b;price\); remove lines above the header.* by ';'",
    ),
    "a title and separators above the header": Case(
        "Prices of 2026;;\na;b;price\n" + "1,5;x;10,5\n" * 20,
        error="column 2 has no name; .* remove lines above the header",
    ),
    "a target of amounts of money": Case(
        "a;price\n1,5;1.234,50 €\n2,5;2.345,50 €\n",
        [[1.5], [2.5]],
        (SEMICOLONS, COMMAS, "'1.234,50 €' is read as 1234.5; only for classes list it in data.categories"),
    ),
    "nothing": Case("", error="the file is empty; allowed: one header and rows"),
    "separators at the end of the rows": Case("a;price\n1,5;10,5;\n", error=r"rows of equal length \(data.separator"),
    "rows without values": Case(
        "\na;b;price\n\n1,5;x;10,5\n;;\n2,25;y;11,25\n; ;\n",
        PLAIN,
        (SEMICOLONS, COMMAS, "rows without any value are left out and not counted: 2"),
    ),
    "nothing but separators": Case("a;b;price\n;;\n", error="no rows under the header"),
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
    "dates with spaces after the points": Case(
        "day;price\n31. 1. 2026;1,5\n1. 2. 2026;2,5\n", error=r"'day' holds dates \(31. 1. 2026\); .*or data.categories"
    ),
    "dates with spaces after the points, listed": Case(
        "day;price\n31. 1. 2026;1,5\n1. 02. 2026 8:30;2,5\n", [[2026, 1, 6], [2026, 2, 7]], given={"dates": ("day",)}
    ),
    "dates with a point at the end": Case(
        "day;price\n31.1.2026.;1,5\n", error=r"holds dates \(31.1.2026.\); .*data.dates"
    ),
    "dates with a point at the end, listed": Case(
        "day;price\n31.1.2026.;1,5\n01.02.26. 08:30;2,5\n", [[2026, 1, 6], [2026, 2, 7]], given={"dates": ("day",)}
    ),
    "dates with the year first and points": Case(
        "day;price\n2026. 01. 31.;1,5\n2026.02.01.;2,5\n2026. 2. 1.;3,5\n",
        error=r"holds dates \(2026. 01. 31.\); .*data.dates",
    ),
    "dates with the year first and points, listed": Case(
        "day;price\n2026. 01. 31.;1,5\n2026.02.01. 8:30;2,5\n2026.2.1;3,5\n",
        [[2026, 1, 6], [2026, 2, 7], [2026, 2, 7]],
        given={"dates": ("day",)},
    ),
    "versions of a calendar, or dates": Case(
        "day;price\n2026.1.31;1,5\n2026.10.1;2,5\n",
        [[0], [1]],
        (SEMICOLONS, COMMAS, "'day' may hold dates: '2026.1.31' is read as a category"),
    ),
    "codes that are no dates": Case("code;price\n2008.11.00;1,5\n2009.31.10;2,5\n", [[0], [1]], (SEMICOLONS, COMMAS)),
    "dates with a word for the year": Case(
        "day;price\n31.1.2026 г.;1,5\n", error="holds dates .31.1.2026 г..; .*data.dates"
    ),
    "dates with a word for the year, listed": Case(
        "day;price\n31.1.2026 г.;1,5\n1.02.2026г. 8:30;2,5\n", [[2026, 1, 6], [2026, 2, 7]], given={"dates": ("day",)}
    ),
    "dates and times with points": Case(
        "day;price\n31.1.2026 14.05;1,5\n1.2.2026 kl. 14:05;2,5\n", error="holds dates .*data.dates"
    ),
    "dates and times with points, listed": Case(
        "day;price\n31.1.2026 14.05;1,5\n01-02-2026 Kl. 14:05;2,5\n1.2.2026 klo 8.05;3,5\n01/02/2026 10h15;4,5\n",
        [[2026, 1, 6], [2026, 2, 7], [2026, 2, 7], [2026, 2, 7]],
        given={"dates": ("day",), "day_first": True},
    ),
    "days with spaces after the points and two digits of the year": Case(
        "day;price\n31. 1. 26;1,5\n",
        [[0]],
        (SEMICOLONS, COMMAS, "'day' may hold dates: '31. 1. 26' is read as a category"),
    ),
    "dates with names of months": Case(
        "day,price\n31. Januar 2026,1.5\n", error="column 'day' holds dates .*data.features, or .*data.dates"
    ),
    "dates with names of months, listed": Case(
        "day,price\n31. Januar 2026,1.5\nSonntag 1. Mrz. 2026,2.5\n1er août 2025,3.5\n24-Dec-99,4.5\n"
        "31 de enero de 2026,5.5\n",
        [[2026, 1, 6], [2026, 3, 7], [2025, 8, 5], [1999, 12, 5], [2026, 1, 6]],
        given={"dates": ("day",)},
    ),
    "dates with names of months in another language": Case(
        "day,price\n31 stycznia 2026,1.5\n", error="holds '31 stycznia 2026' in row 1", given={"dates": ("day",)}
    ),
    "dates with German times": Case(
        "day;price\n31.01.2026, 12:30 Uhr;1,5\n", [[2026, 1, 6]], given={"dates": ("day",)}
    ),
    "dates without separators": Case(
        "day,price\n20260131,1.5\n20260201,2.5\n",
        [[20260131], [20260201]],
        ("holds dates: 20260131 is read as a number; data.dates replaces a feature by year, month and weekday",),
    ),
    "dates without separators, listed": Case(
        "day,price\n20260131,1.5\n,2.5\n20240229235959,3.5\n202601310000,4.5\n",
        [[2026, 1, 6], [NAN] * 3, [2024, 2, 4], [2026, 1, 6]],
        given={"dates": ("day",)},
    ),
    "times without separators": Case(
        "day,price\n202601311230,1.5\n20260201083015,2.5\n",
        [[202601311230], [20260201083015]],
        ("column 'day' holds dates: 202601311230 is read as a number",),
    ),
    "dates with weekdays": Case(
        'day,price\n"Sa., 31.01.2026",1.5\n', error="holds dates .Sa., 31.01.2026.; .*data.dates"
    ),
    "dates with weekdays, listed": Case(
        'day,price\n"Sa., 31.01.2026",1.5\n', [[2026, 1, 6]], given={"dates": ("day",)}
    ),
    "English dates with the month first": Case(
        'day,price\n"January 31, 2026",1.5\n', error="holds dates .January 31, 2026.; .*data.dates or data.categories"
    ),
    "English dates with the month first, listed": Case(
        'day,price\n"January 31, 2026",1.5\nMar. 1 2026,2.5\n"Saturday, Jan 31, 2026 12:30",3.5\n'
        '"mardi 3 février 2026",4.5\n',
        [[2026, 1, 6], [2026, 3, 7], [2026, 1, 6], [2026, 2, 2]],
        given={"dates": ("day",)},
    ),
    "codes with letters are no dates": Case("a,price\n12-AB-3456,1.5\n13-CDE-3457,2.5\n", [[0], [1]]),
    "dates that are categories": Case(
        "day,price\n31.1.2026,1.5\n1.2.2026,2.5\n", [[1], [0]], given={"categories": ("day",)}
    ),
    "lists in a file with commas": Case(
        'a,b,price\n"1,2","1,234",1\n"3,4","5,678",2\n"1,2,3","1,000",3\n',
        [[0, 1234], [2, 5678], [1, 1000]],
        ("column 'a' holds '1,2,3' in row 3", "column 'b' holds thousands separators: '1,234' is read as 1234"),
    ),
    "nothing but NAN": Case("a,price\nNAN,1.5\nNAN,2.5\n", error="column 'a': all 2 values are missing; exclude it"),
    "times beside text": Case(
        "a,price\n12:30,1.5\n-,2.5\n", [[1], [0]], ("holds '-' in 1 row, read as a category; data.missing reads",)
    ),
    "months by name": Case("a,price\nJanuar 2026,1.5\nMrz. 2026,2.5\n", error="holds months .*data.categories"),
    "a quote that is not closed": Case(
        'a;price\n"x;1,5\ny;2,5\n"z;3,5\nv;4,5\n',
        [[1], [0]],
        (SEMICOLONS, COMMAS, "column 'a' holds a quoted text of several lines in row 1"),
    ),
    "dates or versions": Case(
        "day,price\n1.2.26,1.5\n31.1.26,2.5\n",
        [[0], [1]],
        ("column 'day' may hold dates: '1.2.26' is read as a category; data.dates replaces it",),
    ),
    "dates beside text": Case(
        "day,price\n31.1.2026,1.5\n-,2.5\n",
        [[1], [0]],
        ("'day' holds '-' in row 2, while 1 of 2 values are dates; it is read as categories; .*data.missing",),
    ),
    "months": Case("a;price\n01.2026;1,5\n02.2026;2,5\n", error=r"'a' holds months \(01.2026\); .*data.categories"),
    "months with leading zeros": Case("a,price\n01.2026,1.5\n12.2026,2.5\n", error=r"'a' holds months \(01.2026\)"),
    "months that are no numbers with decimal commas": Case(
        "a;price\n1.2026;1,5\n12.2026;2,5\n", error=r"'a' holds months \(1.2026\); .*data.categories"
    ),
    "months or numbers without a decimal mark elsewhere": Case(
        "a;price\n1.2026;1\n2.2026;2\n12.2026;3\n",
        error=r"column 'a' holds numbers or months \(1.2026\); set data.decimal to point if they are numbers, else",
    ),
    "numbers with four decimals, as told": Case(
        "a;price\n1.2026;1\n2.2026;2\n",
        [[1.2026], [2.2026]],
        ("column 'a' may hold months: '1.2026' is read as a number",),
        given={"decimal": "point"},
    ),
    "numbers with four decimals": Case(
        "a,price\n1.2000,1.5\n1.2046,2.5\n12.1999,3.5\n,4.5\n",
        [[1.2], [1.2046], [12.1999], [NAN]],
        ("column 'a' may hold months: '1.2000' is read as a number; data.categories reads it as a category",),
    ),
    "a target with four decimals": Case(
        "a,price\n1,1.2000\n2,1.2046\n",
        [[1], [2]],
        ("column 'price' may hold months: '1.2000' is read as a number; only for classes list it in data.categories",),
    ),
    "times": Case("a;price\n12:30;1,5\n8:05;2,5\n", error=r"column 'a' holds times \(12:30\); .*data.categories"),
    "times, as told": Case("a;price\n12:30;1,5\n8:05;2,5\n", [[0], [1]], given={"categories": ("a",)}),
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
        assert any(words in note or re.search(words, note) for note in raw.notes), raw.notes
    if not case.notes and not case.given:
        assert raw.notes == ()


def test_line_breaks_in_names_of_columns_are_spaces(tmp_path):
    raw = load(tmp_path, '"area\r\nin m²";price\n1,5;2,5\n')
    assert raw.table.features == ("area in m²",)


def test_whole_numbers_of_parquet_are_dates(tmp_path):
    frame = pa.table({"day": [20260131, None], "price": [1.5, 2]})
    assert "column 'day' holds dates: 20260131 is read as a number" in load_parquet(tmp_path, frame).notes[0]
    raw = load_parquet(tmp_path, frame, dates=("day",))
    np.testing.assert_array_equal(raw.train_inputs, [[2026, 1, 6], [NAN] * 3])


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
