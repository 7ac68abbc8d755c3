"""Keys of the loop with Lightning's names: each changes what a run does."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.core.ranks import Ranks
from sam2_training.engine import trainer as trainer_module
from sam2_training.engine.config import CheckpointConfig, EarlyStoppingConfig, RunConfig, TrainerConfig
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.optimizer import build_optimizer
from sam2_training.engine.optimizer_config import OptimizerConfig
from sam2_training.engine.plan import Order, RunPlan
from sam2_training.engine.task import SampleKey
from sam2_training.tasks import load_config
from torch import nn

from tests.engine.in_process import STEPS, config, train
from tests.engine.second_task import NumbersDataset, RegressionTask, RegressionValidation
from tests.engine.test_torch_schedule import by_epoch, optimizer_of, rates, schedule_of

NUM_SAMPLES = 24
"""Of the second task, which takes them two by two: 12 steps an epoch."""


def metrics(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metrics.csv")


def test_a_run_has_that_many_epochs(tmp_path: Path) -> None:
    assert train(config(tmp_path, {"max_steps": None, "max_epochs": 2, "log_every_n_steps": 50})) == 0
    assert metrics(tmp_path)["step"].max() == 2 * NUM_SAMPLES // 2


def test_without_an_end_of_epochs_steps_end_the_run(tmp_path: Path) -> None:
    assert train(config(tmp_path, {"max_epochs": -1, "max_steps": 14})) == 0
    assert metrics(tmp_path)["step"].max() == 14
    problems = list(TrainerConfig(max_epochs=-1).problems("trainer"))
    assert problems == ["trainer.max_epochs=-1 needs trainer.max_steps: a schedule has to know where the run ends"]
    assert "must be at least 1, or -1" in next(TrainerConfig(max_epochs=0).problems("trainer"))


@pytest.mark.parametrize("accumulated", [1, 2])
def test_what_counts_batches_counts_them_with_accumulation_too(accumulated: int, tmp_path: Path) -> None:
    """8 batches are 8 steps, or 4 that accumulate 2 batches each; also when a resumed run accumulates otherwise."""
    settings: dict[str, Any] = {
        **{"max_steps": None, "max_epochs": 2, "accumulate_grad_batches": accumulated},
        **{"limit_train_batches": 8, "val_check_interval": 6, "validate_initial_weights": False},
    }
    first = config(tmp_path, settings)
    assert train(first) == 0
    table = metrics(tmp_path)
    assert table["step"].max() == 2 * 8 // accumulated
    assert (table["samples"] == 2 * accumulated).all()
    steps = sorted({1: [6, 12, 16], 2: [3, 6, 8]}[accumulated])
    state = torch.load(tmp_path / "checkpoints" / "checkpoint.pt", weights_only=True)
    assert [row["step"] for row in state["validation"]["history"]] == steps
    assert state["batches_per_step"] == accumulated
    again = replace(first, trainer=replace(first.trainer, accumulate_grad_batches=1, max_epochs=3))
    assert train(replace(again, loader=replace(again.loader, batch_size=2 * accumulated))) == 0
    assert metrics(tmp_path)["step"].max() == 3 * 8 // accumulated


def test_without_shuffling_order_stays(tmp_path: Path) -> None:
    for shuffle in (True, False):
        order = Order(1, NUM_SAMPLES, 2, 1, shuffle=shuffle)
        epochs = [[key.index for step in range(12 * e, 12 * (e + 1)) for key in order.keys(step, 0)] for e in range(2)]
        assert [sorted(epoch) for epoch in epochs] == [list(range(NUM_SAMPLES))] * 2
        assert (epochs[0] == list(range(NUM_SAMPLES))) == (not shuffle)
        assert (epochs[0] == epochs[1]) == (not shuffle)
        halves = [Order(1, NUM_SAMPLES, 2, 2, shuffle=shuffle).keys(3, rank)[0] for rank in range(2)]
        assert halves == order.keys(3, 0)
    for shuffle in (True, False):
        taken: list[int] = []

        class Recorded(NumbersDataset):
            def batch(self, keys: list[SampleKey], taken: list[int] = taken) -> Any:
                taken.extend(key.index for key in keys)
                return super().batch(keys)

        class Task(RegressionTask):
            dataset = Recorded

        asked = config(tmp_path / str(shuffle))
        assert train(replace(asked, loader=replace(asked.loader, shuffle=shuffle)), Task) == 0
        assert (taken[: 2 * STEPS] == list(range(2 * STEPS))) == (not shuffle)


def test_a_resumed_run_may_not_change_the_order(tmp_path: Path) -> None:
    asked = config(tmp_path, {"max_steps": 3})
    assert train(asked) == 0
    with pytest.raises(ConfigError, match=r"loader\.shuffle: True -> False"):
        train(replace(asked, loader=replace(asked.loader, shuffle=False)))


def test_a_batch_has_that_many_samples(tmp_path: Path) -> None:
    asked = config(tmp_path)
    assert train(replace(asked, loader=replace(asked.loader, batch_size=4))) == 0
    assert set(metrics(tmp_path)["samples"]) == {4}


def test_so_many_processes_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Watched(trainer_module.StepLoader):  # type: ignore[type-arg]
        def __init__(self, *args: Any, num_workers: int, **more: Any) -> None:
            seen.append(num_workers)
            super().__init__(*args, num_workers=num_workers, **more)

    monkeypatch.setattr(trainer_module, "StepLoader", Watched)
    asked = config(tmp_path)
    assert train(replace(asked, loader=replace(asked.loader, num_workers=1))) == 0
    assert seen == [1]


def test_the_optimizer_is_what_it_says() -> None:
    def built(**settings: Any) -> torch.optim.Optimizer:
        asked = OptimizerConfig(**{"no_weight_decay": (), "no_weight_decay_modules": (), **settings})
        return build_optimizer(nn.Linear(2, 1), asked, torch.device("cpu"))

    assert isinstance(built(type="SGD"), torch.optim.SGD)
    adam = built(lr=1e-4, weight_decay=1e-4, betas=(0.8, 0.9), eps=1e-6)
    (group,) = adam.param_groups
    assert isinstance(adam, torch.optim.AdamW)
    assert (group["lr"], group["weight_decay"], tuple(group["betas"]), group["eps"]) == (1e-4, 1e-4, (0.8, 0.9), 1e-6)
    with pytest.raises(ConfigError, match="LBFGS"):
        built(type="LBFGS")


def test_arguments_reach_the_schedule() -> None:
    def of(**settings: Any) -> list[float]:
        optimizer = optimizer_of()
        return by_epoch(rates(optimizer, schedule_of(optimizer, **settings)))

    assert of(type="CosineAnnealingLR", T_max=7, eta_min=1e-5)[7] == pytest.approx(1e-5)
    assert of(type="StepLR", step_size=3, gamma=0.5)[:4] == pytest.approx([1.0, 1.0, 1.0, 0.5])
    # All keys of the vocabulary at once, as its files have them: those of another class at their defaults.
    whole = {"T_max": 10, "eta_min": 1e-6, "step_size": 5, "gamma": 0.1}
    assert of(type="CosineAnnealingLR", **whole) == of(type="CosineAnnealingLR")
    assert of(type="StepLR", **whole) == of(type="StepLR")
    with pytest.raises(ConfigError, match=r"scheduler\.step_size: .*CosineAnnealingLR takes no step_size"):
        of(type="CosineAnnealingLR", step_size=4)


def test_the_gradient_is_bounded_unless_that_is_0(tmp_path: Path) -> None:
    found = {}
    for bound in (1e-3, None):
        folder = tmp_path / str(bound)
        assert train(config(folder, {"gradient_clip_val": bound})) == 0
        found[bound] = torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True)["optimizer"]
    moments = {bound: str(state) for bound, state in found.items()}
    assert moments[1e-3] != moments[None]
    for written, expected in (("0", None), ("0.0", None), ("null", None), ("1.0", 1.0)):
        trainer = load_config("custom_finetune", [f"trainer.gradient_clip_val={written}"]).config.trainer
        assert trainer.gradient_clip_val == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [("32-true", "32"), ("32", "32"), ("bf16", "bf16-mixed"), ("16", "16-mixed"), ("16-mixed", "16-mixed")],
)
def test_precisions_have_lightnings_names(written: str, expected: str) -> None:
    assert load_config("custom_finetune", [f"trainer.precision={written}"]).config.trainer.precision == expected


def test_without_checkpointing_nothing_is_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(config(tmp_path, {"enable_checkpointing": False})) == 0
    assert metrics(tmp_path)["step"].max() == STEPS
    assert not list(tmp_path.rglob("*.pt"))
    said = capsys.readouterr().out
    assert "trainer.enable_checkpointing=false: no state and no weights are saved" in said
    assert "checkpoint.pt" not in said
    # The same command starts again, and does not look for what was never there.
    assert train(config(tmp_path, {"enable_checkpointing": False})) == 0


def test_without_a_logger_only_the_table(tmp_path: Path) -> None:
    for logger in (True, False):
        folder = tmp_path / str(logger)
        assert train(config(folder, {"logger": logger})) == 0
        assert (folder / "tensorboard").exists() == logger
        assert len(metrics(folder)) == STEPS


def test_checkpoints_go_where_save_dir_says(tmp_path: Path) -> None:
    asked = replace(config(tmp_path, {"max_steps": 3}), save_dir="./saved/states")
    assert train(asked) == 0
    assert (tmp_path / "saved" / "states" / "checkpoint.pt").is_file()
    assert (tmp_path / "saved" / "states" / "best_val_loss.pt").is_file()
    assert not (tmp_path / "checkpoints").exists()
    assert train(replace(asked, trainer=replace(asked.trainer, max_steps=5))) == 0
    assert metrics(tmp_path)["step"].tolist() == [1, 2, 3, 4, 5]
    assert "goes on" in (tmp_path / "logs" / "train.log").read_text()


@pytest.mark.parametrize("folder", ["/tmp/x", "../x", "a/../../x", ".", ""])
def test_save_dir_lies_inside_the_runs_folder(folder: str) -> None:
    assert any(
        "must be a folder inside the run's folder" in problem for problem in RunConfig(save_dir=folder).problems()
    )


@pytest.mark.parametrize(("level", "shown"), [("INFO", ["banner", "note", "careful"]), ("WARNING", ["careful"])])
def test_messages_below_the_level_are_left_out(level: str, shown: list[str], tmp_path: Path) -> None:
    stream = io.StringIO()
    asked: Any = RunConfig(trainer=TrainerConfig(max_steps=3), log_level=level)  # type: ignore[arg-type]
    log = RunLog(tmp_path, Ranks(), RunPlan(asked, Order(0, 4, 1, 1)), "samples", {}, stream)
    log.banner(["banner"])
    log.message("note")
    log.warning("careful")
    log.close()
    for text in (stream.getvalue(), (tmp_path / "logs" / "train.log").read_text()):
        assert [word for word in ("banner", "note", "careful") if word in text] == shown


def test_the_finest_level_shows_what_is_meant_for_debugging(tmp_path: Path) -> None:
    stream = io.StringIO()
    asked = RunConfig(trainer=TrainerConfig(max_steps=3), log_level="DEBUG")
    log = RunLog(tmp_path, Ranks(), RunPlan(asked, Order(0, 4, 1, 1)), "samples", {}, stream)
    logging.getLogger("sam2_training.engine").debug("details")
    log.close()
    assert "details" in (tmp_path / "logs" / "train.log").read_text()


class NoBetter(RegressionValidation):
    def measure(self, *_: object) -> dict[str, float]:
        return {"val_loss": 1.0}


class Stuck(RegressionTask):
    validation: Callable[[], Any] = NoBetter  # type: ignore[assignment]


def test_patience_alone_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    every = {"val_check_interval": 1, "max_steps": 10, "early_stopping_patience": 3}
    assert train(config(tmp_path, every, monitor=("val_loss",)), Stuck) == 0
    assert metrics(tmp_path)["step"].max() == 4  # the first is the best, and three are no better


def test_patience_is_one_setting() -> None:
    def problems(asked: int, **early: Any) -> list[str]:
        made = RunConfig(
            trainer=TrainerConfig(early_stopping_patience=asked), early_stopping=EarlyStoppingConfig(**early)
        )
        return list(made.problems())

    assert problems(3) == []
    assert problems(3, patience=3) == []
    assert "are one setting: write it once" in problems(3, patience=4)[0]
    without = RunConfig(trainer=TrainerConfig(early_stopping_patience=3), checkpoint=CheckpointConfig(monitor=()))
    assert any("no metric to watch" in problem for problem in without.problems())


@pytest.mark.parametrize("name", ["ckpt_path", "trainer.ckpt_path", "checkpoint.resume_from"])
def test_a_run_continues_from_ckpt_path(name: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert train(config(first, {"max_steps": 3})) == 0
    state = str(first / "checkpoints" / "checkpoint.pt")
    loaded = load_config("custom_finetune", [f"{name}={state}"]).config
    assert loaded.checkpoint.resume_from == state
    second = tmp_path / "second"
    asked = config(second, {"max_steps": 3})
    assert train(replace(asked, checkpoint=replace(asked.checkpoint, resume_from=loaded.checkpoint.resume_from))) == 0
    assert f"continues at step 3 from {state}" in (second / "logs" / "train.log").read_text()


def test_without_training_batches_the_named_weights_are_measured_once(tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert train(config(first, {"max_steps": 3})) == 0
    state = first / "checkpoints" / "checkpoint.pt"
    before = state.read_bytes()
    second = tmp_path / "second"
    asked = config(second, {"max_steps": 3, "limit_train_batches": 0}, resume_from=str(state))
    assert train(asked) == 0
    said = (second / "logs" / "train.log").read_text()
    assert said.count("validation after step 3") == 1
    assert "Finished after step 3" in said
    assert state.read_bytes() == before
    assert not list(second.rglob("step_*.pt"))
