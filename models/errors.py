"""The exception for mistakes of the user, whose message is one line."""


class InputError(ValueError):
    """A mistake in what the user gave: a parameter, a file, a device, an address.

    The message is one line that names the key or file, the value found and what is allowed.
    Stages print it without a traceback and exit with status 1.
    """


def one_line(text: object) -> str:
    """A text, or the message of an exception, without line breaks and repeated spaces."""
    return " ".join(str(text).split())
