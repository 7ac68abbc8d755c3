"""torchrun's variables: the whole set, none of it, or a ConfigError that names what is set and what is missing."""

from __future__ import annotations

import itertools

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.core.rank_variables import RankNumbers, rank_numbers

WHOLE = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_the_whole_set_or_none_of_it_is_understood() -> None:
    assert rank_numbers(WHOLE) == RankNumbers(5, 1, 8)
    assert rank_numbers({"HOME": "/", "RANK": ""}) is None


def test_every_part_of_the_set_is_refused_with_what_is_set_and_what_is_missing() -> None:
    for number in range(1, len(WHOLE)):
        for names in itertools.combinations(WHOLE, number):
            with pytest.raises(ConfigError, match="a part of torchrun's variables") as caught:
                rank_numbers({name: WHOLE[name] for name in names})
            found, missing = str(caught.value).split("not set: ")
            assert all(f"{name}={WHOLE[name]}" in found for name in names)
            assert all(name in missing.split(".")[0] for name in set(WHOLE) - set(names))
            assert missing.endswith(f"unset {' '.join(names)}")


@pytest.mark.parametrize(
    "changed", [{"RANK": "8"}, {"RANK": "x"}, {"WORLD_SIZE": "0"}, {"LOCAL_RANK": "-1"}, {"RANK": "²"}]
)
def test_values_that_no_start_of_torchrun_has_are_refused(changed: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="do not fit together"):
        rank_numbers({**WHOLE, **changed})
