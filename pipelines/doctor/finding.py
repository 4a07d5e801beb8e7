"""What was looked at, what was found there, and what to do about it: one line for a person."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """`ok`; `warning`: works, but less well or later; `problem`: what `params.yaml` asks for cannot work."""

    status: Status
    subject: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.status:<9}{self.subject:<30}{' '.join(self.found.split())}{advice}"
