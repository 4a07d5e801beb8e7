"""Where a model is trained and in which precision: what was chosen, not what was asked for."""

from typing import Literal, NamedTuple


class Device(NamedTuple):
    """`kind` as parameters name it, `name` for people, `precision` of the matrix products."""

    kind: Literal["cpu", "cuda"]
    name: str
    precision: Literal["float32", "bfloat16"]
