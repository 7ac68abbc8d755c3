"""Reading checkpoint files from anywhere without running what they may contain."""

from __future__ import annotations

import pickletools
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from sam2_training.core.errors import CheckpointError


def load_safely(local_path: Path, shown: str) -> Any:
    """What torch.load makes of the file, tensors on the CPU; only tensors and plain values are unpickled.

    shown: how messages call the file. Raises CheckpointError for a file that torch cannot read, and for one that would
    run code when unpickled, naming what it would call.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: the outcome below says what matters
            return torch.load(local_path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise CheckpointError(f"{shown} may not be read by this user: {error}. Change its permissions.") from error
    except Exception as error:  # on a damaged or foreign file torch raises anything from KeyError to RuntimeError
        refused = _refused_global(str(error), local_path)
        if refused:
            raise CheckpointError(
                f"{shown} is not safe to load: unpickling it would call {refused}, which could run any code. A "
                "checkpoint holds tensors and plain values only. If you trust its origin, save its tensors again with "
                "torch.save."
            ) from error
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0][:200] if lines else 'nothing in it'}"
        raise CheckpointError(
            f"{shown} ({local_path.stat().st_size:,} bytes) is damaged, or is not a checkpoint ({reason}). "
            "Expected: a file written by torch.save. Fetch or copy it again."
        ) from error


def _refused_global(message: str, local_path: Path) -> str | None:
    """The function or class that the safe unpickler refused, such as posix.system; None if that was not the reason."""
    found = re.search(r"GLOBAL (\S+)", message)
    return found.group(1).rstrip(".") if found else _global_in_pickle(local_path)


def _global_in_pickle(local_path: Path) -> str | None:
    """The first function or class that a plain pickle file names; read without executing anything."""
    texts: list[str] = []
    try:
        with local_path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if opcode.name == "STACK_GLOBAL":
                    return ".".join(texts[-2:])
                if isinstance(argument, str):
                    texts.append(argument)
    except (ValueError, UnicodeDecodeError, IndexError):  # not a pickle after all
        return None
    return None
