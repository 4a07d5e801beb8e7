"""Numbers of things as text."""


def counted(count: int, noun: str) -> str:
    """A number of things, whose plural ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
