"""Counts with their nouns."""


def counted(count: int, noun: str) -> str:
    """A count and its noun, such as `2 cores`; the plural ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
