"""`champion.json`, the file that describes a champion bundle: its name and the number of its schema."""

from typing import Literal

MANIFEST = "champion.json"
Schema = Literal[1]
SCHEMA: Schema = 1
