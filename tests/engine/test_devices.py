"""Which devices a configuration means, in Lightning's spellings too, on machines with and without GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.core.ranks import choose_device
from sam2_training.engine.config import LauncherConfig, LoadedConfig, RunConfig, TrainerConfig
from sam2_training.engine.devices import check_devices, listed_gpus, num_processes, on_this_machine
from sam2_training.tasks import load_config

RECIPE = "sam2.1_training/custom_finetune"


@pytest.fixture(params=[0, 4])
def num_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


def asked_for(*overrides: str) -> RunConfig:
    return load_config(RECIPE, overrides).config


def test_the_device_is_the_named_one(num_gpus: int) -> None:
    for key in ("model.device", "trainer.accelerator"):
        assert choose_device(asked_for(f"{key}=cpu").trainer.accelerator, 0) == torch.device("cpu")
    found = choose_device(asked_for("model.device=auto").trainer.accelerator, 0)
    assert found == (torch.device("cuda", 0) if num_gpus else torch.device("cpu"))


@pytest.mark.parametrize("name", ["gpu", "cuda"])
def test_a_gpu_is_asked_for(name: str, num_gpus: int) -> None:
    config = asked_for(f"trainer.accelerator={name}")
    if num_gpus:
        assert choose_device(config.trainer.accelerator, 2) == torch.device("cuda", 2)
    else:
        with pytest.raises(ConfigError, match="this machine has 0 usable GPU"):
            choose_device(config.trainer.accelerator, 0)


def test_mps_is_refused_by_name_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    config = asked_for("model.device=mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator=mps: this machine has no GPU that torch reaches"):
        choose_device(config.trainer.accelerator, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device(config.trainer.accelerator, 0) == torch.device("mps")
    with pytest.raises(ConfigError, match="trains in one process"):
        check_devices(asked_for("model.device=mps", "trainer.devices=2"))


@pytest.mark.parametrize(
    ("written", "expected", "without_gpu"),
    [("1", 1, 1), ("3", 3, 3), ("auto", 4, 1), ("-1", 4, 1), ("'2'", 2, 2), ("[0,2]", 2, 2), ("'1,'", 1, 1)],
)
def test_devices_are_counted_as_lightning_does(written: str, expected: int, without_gpu: int, num_gpus: int) -> None:
    config = asked_for(f"trainer.devices={written}")
    assert num_processes(config) == (expected if num_gpus else without_gpu)
    assert num_processes(asked_for(f"launcher.gpus_per_node={written}")) == num_processes(config)


def test_auto_on_a_cpu_is_one_process(num_gpus: int) -> None:
    assert num_processes(asked_for("trainer.devices=auto", "trainer.accelerator=cpu")) == 1


def test_listed_gpus_are_taken_in_their_order(num_gpus: int) -> None:
    gpus = listed_gpus(asked_for("trainer.devices=[2,0]"))
    if num_gpus:
        assert [choose_device("auto", rank, gpus).index for rank in range(2)] == [2, 0]
        with pytest.raises(ConfigError, match=r"names GPU 7, and this machine has 4 usable"):
            choose_device("cuda", 0, (0, 7))
    else:
        with pytest.raises(ConfigError, match=r"names GPU 2, and this machine has 0 usable"):
            choose_device("auto", 0, gpus)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0", "must be at least 1"),
        ("-2", "must be at least 1"),
        ("[]", "must name one or more different GPUs"),
        ("[1,1]", "must name one or more different GPUs"),
        ("[-1]", "must name one or more different GPUs"),
        ("some", "must be auto, a number of processes, or a list of GPUs"),
        ("true", "must be auto, a number of processes, or a list of GPUs"),
        ("1.5", "must be auto, a number of processes, or a list of GPUs"),
    ],
)
def test_what_means_no_device_is_refused(written: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        asked_for(f"trainer.devices={written}")
    (problem,) = raised.value.problems
    assert problem.startswith("trainer.devices=")
    assert words in problem


def test_a_list_of_gpus_does_not_go_with_a_cpu() -> None:
    with pytest.raises(ConfigError, match=r"names GPUs, but trainer\.accelerator=cpu"):
        asked_for("trainer.devices=[0]", "trainer.accelerator=cpu")


@pytest.mark.parametrize(
    ("trainer", "expected", "num_notes"),
    [
        ({"accelerator": "cuda", "precision": "16-mixed"}, ("cpu", "auto"), 2),
        ({"accelerator": "cpu", "precision": "16-mixed"}, ("cpu", "auto"), 1),
        ({"accelerator": "auto", "precision": "bf16-mixed"}, ("auto", "bf16-mixed"), 0),
        ({"accelerator": "cuda", "precision": "32"}, ("cpu", "32"), 1),
    ],
    ids=str,
)
def test_without_a_gpu_the_cpu_is_taken_where_that_is_allowed(
    trainer: dict[str, Any], expected: tuple[str, str], num_notes: int, num_gpus: int
) -> None:
    asked = RunConfig(trainer=TrainerConfig(**trainer, cpu_fallback=True), launcher=LauncherConfig(gpus_per_node=(0,)))
    found = on_this_machine(LoadedConfig(asked, "x", ""))
    made = found.config.trainer
    if num_gpus and trainer["accelerator"] != "cpu":
        assert (found.config, found.notes) == (asked, ())
    else:
        assert (made.accelerator, made.precision, len(found.notes)) == (*expected, num_notes)
    strict = replace(asked, trainer=replace(asked.trainer, cpu_fallback=False))
    assert on_this_machine(LoadedConfig(strict, "x", "")).config == strict
