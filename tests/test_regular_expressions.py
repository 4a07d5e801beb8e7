"""Every regular expression in the code takes time linear in its input.

The expressions are found in the syntax trees; those of pydantic (Rust's regex) and Arrow (RE2) are linear by
construction. Inputs are derived from each expression: what a repetition matches, many times, then what ends the match.
"""

import ast
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.serving.conftest import ROOT

PACKAGES = ("models", "pipelines", "serving", "benchmarks")
METHODS = ("match", "fullmatch", "search")
USES = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
SECONDS, SECONDS_PER_CHARACTER = 0.005, 1e-6
LENGTHS = tuple(int(8 * 1.2**step) for step in range(50))  # repetitions, up to 60,000
PARSER: Any = re._parser  # type: ignore[attr-defined]
REPEATS = (PARSER.MAX_REPEAT, PARSER.MIN_REPEAT, PARSER.POSSESSIVE_REPEAT)


class Expression(NamedTuple):
    """A pattern, where it is written, and whether it is searched for, not only matched at the start."""

    place: str
    pattern: re.Pattern[Any]
    searched: bool


def expressions() -> Iterator[Expression]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield from in_file(path)


def in_file(path: Path) -> Iterator[Expression]:
    """Of `NAME = re.compile(...)` the name decides whether it is searched for in this file."""
    text = path.read_text("utf-8")
    if not re.search(r"\bre\.", text):
        return
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    searched = {ast.unparse(call.func.value) for call in calls if call.func.attr in USES - {"match", "fullmatch"}}
    names = {id(node.value): ast.unparse(node.targets[0]) for node in ast.walk(tree) if isinstance(node, ast.Assign)}
    for call in calls:
        if ast.unparse(call.func.value) == "re" and call.func.attr in USES:
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            assert isinstance(call.args[0], ast.Constant), f"{place}: the pattern is not a literal"
            if call.func.attr == "compile":
                pattern = eval(ast.unparse(call), {"re": re})  # noqa: S307 - of this repository
                yield Expression(place, pattern, names.get(id(call)) in searched)
            else:
                yield Expression(place, re.compile(call.args[0].value), call.func.attr not in ("match", "fullmatch"))


def attacks(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    """Start, repeated middle and end of inputs that make it backtrack."""
    tree = PARSER.parse(pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else 0)
    for before, body in repeats(list(tree), ""):
        for middle in samples(body):
            for end in ("", "\0", "x", "\n"):
                yield before, middle, end
    for character in (" ", "a", "<", "-", "\0"):
        yield "", character, "\1"


def repeats(items: Sequence[Any], before: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """What may be matched before each long repetition, and what it repeats."""
    for operator, argument in items:
        if operator in REPEATS:
            if argument[1] > 8:
                yield before, argument[2]
            yield from repeats(argument[2], before)
        for branch in branches(operator, argument):
            yield from repeats(branch, before)
        before += sample([(operator, argument)])


def branches(operator: Any, argument: Any) -> list[Any]:
    if operator is PARSER.BRANCH:
        return list(argument[1])
    return [argument[-1]] if operator is PARSER.SUBPATTERN else []


def samples(items: Sequence[Any]) -> set[str]:
    """Short strings that `items` match: with its own repetitions at their least, and once more."""
    return {text for text in (sample(items), sample(items, 1)) if text}


def sample(items: Sequence[Any], more: int = 0) -> str:
    """A string that `items` match."""
    made = ""
    for operator, argument in items:
        if operator is PARSER.LITERAL:
            made += chr(argument)
        elif operator in (PARSER.ANY, PARSER.NOT_LITERAL):
            made += "a"
        elif operator is PARSER.IN:
            made += member(argument)
        elif operator in REPEATS:
            made += sample(argument[2], more) * max(argument[0], min(more, argument[1]))
        elif chosen := branches(operator, argument):
            made += sample(chosen[0], more)
    return made


def member(alternatives: Sequence[Any]) -> str:
    """A character of a set."""
    written = "".join(
        chr(argument if operator is PARSER.LITERAL else argument[0])
        for operator, argument in alternatives
        if operator in (PARSER.LITERAL, PARSER.RANGE)
    )
    classes = {PARSER.CATEGORY_DIGIT: "1", PARSER.CATEGORY_SPACE: " ", PARSER.CATEGORY_WORD: "a"}
    written += "".join(classes.get(argument, "a") for operator, argument in alternatives if operator is PARSER.CATEGORY)
    return "a" if alternatives[0][0] is PARSER.NEGATE else written[0]


def slow_input(expression: Expression) -> str:
    """The first input that takes longer than its length allows, nothing if there is none."""
    for start, middle, end in attacks(expression.pattern):
        for method in METHODS if expression.searched else METHODS[:2]:
            for count in LENGTHS:
                text: Any = start + middle * count + end
                text = text.encode("latin-1") if isinstance(expression.pattern.pattern, bytes) else text
                if not is_fast(getattr(expression.pattern, method), text):
                    return f"{method}({start!r} + {middle!r} * {count} + {end!r})"
    return ""


def is_fast(method: Any, text: str | bytes) -> bool:
    """Whether one of three runs takes no longer than the length allows."""
    for _ in range(3):
        started = time.thread_time()
        method(text)
        if time.thread_time() - started <= SECONDS + SECONDS_PER_CHARACTER * len(text):
            return True
    return False


@pytest.mark.parametrize("expression", expressions(), ids=lambda each: each.place)
def test_it_is_linear(expression: Expression) -> None:
    assert not slow_input(expression)


def test_all_uses_are_found() -> None:
    """No other way of importing the module, and no other library with expressions that backtrack."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text("utf-8")
            assert "from re import" not in text, path
            assert "import regex" not in text, path
            assert "import re as" not in text, path


@pytest.mark.parametrize(
    ("pattern", "searched"),
    [
        (r"(?is)\s*(<\?xml.*?)?(<!--.*?-->\s*)*<svg", False),
        (r"(a+)+b", False),
        (r"(a|a)*b", False),
        (r"(\s*a?)*b", False),
        (r"x*x*x*x*y", False),
        (r"\s*a", True),
        (r"\s+$", True),
    ],
)
def test_superlinear_ones_are_recognised(pattern: str, searched: bool) -> None:
    assert slow_input(Expression("here", re.compile(pattern), searched))
