"""Names of prompts, such as "mask" or "click:3": the one grammar for configuration and command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sam2_training.core.errors import ConfigError

PromptKind = Literal["mask", "box", "click", "interactive"]
_COUNTED = ("click", "interactive")


@dataclass(frozen=True)
class PromptSpec:
    """How objects are prompted."""

    kind: PromptKind = "mask"
    count: int = 1
    """Clicks on the first frame (click), or rounds of correction (interactive); 1 otherwise."""

    @classmethod
    def parse(cls, text: str, where: str = "prompt") -> PromptSpec:
        """The prompt that a text such as "mask", "box", "click:3" or "interactive:8" names.

        where: what the text was given as, for the message. Raises ConfigError.
        """
        kind, colon, number = text.strip().partition(":")
        if kind in ("mask", "box") and not colon:
            return cls("mask" if kind == "mask" else "box")
        if kind in _COUNTED and re.fullmatch(r"[1-9][0-9]{0,2}", number):
            return cls("click" if kind == "click" else "interactive", int(number))
        raise ConfigError(f"{where}={text!r} must be mask, box, click:N or interactive:N, with N from 1 to 999")

    def __str__(self) -> str:
        return f"{self.kind}:{self.count}" if self.kind in _COUNTED else self.kind
