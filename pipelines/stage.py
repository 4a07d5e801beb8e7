"""How every stage starts and ends: a person's mistake is one line and status 1, never a traceback."""

import sys
from collections.abc import Callable

from models.errors import InputError


def run(main: Callable[[], None]) -> None:
    """Call `main`; print an InputError or OSError (a full disk, a missing file) as one line and exit 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {place}{error.strerror or error}")
