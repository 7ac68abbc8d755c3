"""Ranks: the right device or a clear refusal, and agreement between two real processes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.core.ranks import Ranks, choose_device, process_group, ranks_from_environment

from tests import two_ranks

PROGRAM = """
import json, torch
from sam2_training.core.ranks import process_group, ranks_from_environment
from sam2_training.core.errors import DataError
ranks = ranks_from_environment("cpu")
torch.set_num_threads(1)
seen = {}
with process_group(ranks, 30):
    seen["nobody"] = ranks.any_says(False)
    seen["one"] = ranks.any_says(ranks.rank == 1)
    seen["from_main"] = ranks.from_main({"rank": ranks.rank, "words": ["a", "b"]})
    seen["gather"] = ranks.gather((ranks.rank, "x" * (1 + ranks.rank)))
    seen["sums"] = ranks.sum_each([1.0 + ranks.rank, 10.0])
    mine = torch.tensor([1.0, 5.0]) * (1 + 2 * ranks.rank)
    seen["mean"] = ranks.mean_tensor(mine).tolist()
    seen["max"] = ranks.max_tensor(torch.tensor([ranks.rank, -ranks.rank])).tolist()
    seen["mine"] = mine.tolist()
    seen["main_first"] = ranks.main_first(lambda heartbeat: f"built by {ranks.rank}")
    def build(heartbeat):
        raise DataError("frames are missing")
    try:
        ranks.main_first(build)
    except DataError as error:
        seen["failure"] = str(error)
    ranks.barrier()
import os
with open(os.environ["RESULT"] + str(ranks.rank), "w") as file:
    json.dump(seen, file)
"""


@pytest.fixture(scope="module")
def seen_by_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two gloo processes saw."""
    return two_ranks.seen_by_two_ranks(PROGRAM, tmp_path_factory.mktemp("ranks"))


def test_r13_one_rank_saying_so_is_heard_by_all(seen_by_two_ranks: list[dict[str, Any]]) -> None:
    assert [seen["one"] for seen in seen_by_two_ranks] == [True, True]
    assert [seen["nobody"] for seen in seen_by_two_ranks] == [False, False]


def test_values_from_the_main_rank_and_from_every_rank(seen_by_two_ranks: list[dict[str, Any]]) -> None:
    for seen in seen_by_two_ranks:
        assert seen["from_main"] == {"rank": 0, "words": ["a", "b"]}
        assert seen["gather"] == [[0, "x"], [1, "xx"]]
        assert seen["sums"] == [3.0, 20.0]


def test_tensor_reductions_leave_their_argument_alone(seen_by_two_ranks: list[dict[str, Any]]) -> None:
    for rank, seen in enumerate(seen_by_two_ranks):
        assert seen["mean"] == [2.0, 10.0]
        assert seen["max"] == [1, 0]
        assert seen["mine"] == [1.0 + 2 * rank, 5.0 + 10 * rank]


def test_main_builds_first_and_its_failure_is_everybodys(seen_by_two_ranks: list[dict[str, Any]]) -> None:
    assert [seen["main_first"] for seen in seen_by_two_ranks] == ["built by 0", "built by 1"]
    assert [seen["failure"] for seen in seen_by_two_ranks] == ["frames are missing"] * 2


def test_alone_nothing_is_exchanged() -> None:
    ranks = Ranks()
    with process_group(ranks, 1):
        assert not torch.distributed.is_initialized()
        assert ranks.is_main
        assert ranks.any_says(True) is True
        assert ranks.from_main("x") == "x"
        assert ranks.gather(3) == [3]
        assert ranks.sum_each([2.0]) == [2.0]
        assert ranks.mean_tensor(torch.ones(2)).tolist() == [1, 1]
        ranks.barrier()


def test_rank_is_read_from_torchruns_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", **address}.items():
        monkeypatch.setenv(name, value)
    ranks = ranks_from_environment("cpu")
    assert (ranks.rank, ranks.local_rank, ranks.world_size, ranks.device.type) == (5, 1, 8, "cpu")
    assert not ranks.is_main


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_takes_the_gpu_of_the_local_rank_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 4)
    assert choose_device("auto", 3) == torch.device("cuda", 3)
    assert choose_device("cpu", 3) == torch.device("cpu")
    pretend_gpus(monkeypatch, 0)
    assert choose_device("auto", 0) == torch.device("cpu")


@pytest.mark.parametrize(("accelerator", "num_gpus", "local_rank"), [("cuda", 0, 0), ("auto", 2, 2), ("cuda", 1, 3)])
def test_more_processes_than_gpus_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, num_gpus: int, local_rank: int
) -> None:
    pretend_gpus(monkeypatch, num_gpus)
    with pytest.raises(ConfigError, match=rf"this machine has {num_gpus} usable GPU.*--num-gpus") as raised:
        choose_device(accelerator, local_rank)
    assert raised.value.exit_code == 2
