"""torchrun's environment variables: which rank this process is, checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sam2_training.core.errors import ConfigError

NUMBERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class RankNumbers:
    """This process among its peers, as torchrun counts them."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """True on the one process that writes files and talks to the user."""
        return self.rank == 0


def rank_numbers(environment: Mapping[str, str] | None = None) -> RankNumbers | None:
    """What torchrun's variables say; None where it did not start this process: none of them is set.

    Raises ConfigError for a part of the set, left over from another start for instance: the process would take itself
    for a rank of a run that is not there. Also for values that no start of torchrun has.
    """
    variables = os.environ if environment is None else environment
    known = {name: variables[name] for name in (*NUMBERS, *ADDRESS) if variables.get(name)}
    if not known:
        return None
    missing = [name for name in (*NUMBERS, *ADDRESS) if name not in known]
    found = ", ".join(f"{name}={value}" for name, value in known.items())
    if missing:
        raise ConfigError(
            f"the environment has a part of torchrun's variables: {found}; not set: {', '.join(missing)}. "
            f"Unless torchrun starts this command, remove them: unset {' '.join(known)}"
        )
    numbers = [int(known[name]) if known[name].isascii() and known[name].isdigit() else -1 for name in NUMBERS]
    rank, local_rank, world_size = numbers
    if min(numbers) < 0 or max(rank, local_rank) >= world_size:
        raise ConfigError(
            f"torchrun's variables do not fit together: {found}. Expected whole numbers, RANK and LOCAL_RANK "
            f"below WORLD_SIZE. Unless torchrun starts this command, remove them: unset {' '.join(known)}"
        )
    return RankNumbers(rank, local_rank, world_size)
