"""Result of one check of the environment."""

from dataclasses import dataclass
from typing import Literal

from models.errors import one_line

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class CheckResult:
    """`warning`: works with restrictions; `problem`: something that `params.yaml` requires does not work."""

    status: Status
    subject: str
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.status:<9}{self.subject:<30}{one_line(self.detail)}{advice}"
