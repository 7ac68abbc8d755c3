"""What a run tells: metrics.csv exact across a resume, lines, the bar, TensorBoard, and logs that cannot be written."""

from __future__ import annotations

import functools
import io
import logging
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sam2_training.core.columns import ColumnKind
from sam2_training.core.errors import DataError
from sam2_training.core.files import write_text
from sam2_training.core.ranks import Ranks
from sam2_training.engine.config import RunConfig, TrainerConfig
from sam2_training.engine.logging import run_log
from sam2_training.engine.logging.console import banner_text, memory_text
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.logging.table import MetricsTable, read_metrics
from sam2_training.engine.plan import Order, RunPlan
from torch import Tensor

from tests.terminal import Terminal

TOTAL, PER_EPOCH = 24, 10
CONFIG = RunConfig(trainer=TrainerConfig(log_every_n_steps=5, max_steps=TOTAL))
ORDER = Order(seed=0, num_samples=PER_EPOCH, global_batch=1, world_size=1)
COLUMNS: dict[str, ColumnKind] = {"loss_mask": "loss", "loss_dice": "loss"}
EXACT = ["step", "epoch", "total", "loss_mask", "loss_dice", "grad_norm", "lr", "clips"]


def losses_of(step: int) -> dict[str, Tensor]:
    mask, dice = torch.rand(2, generator=torch.Generator().manual_seed(step))
    return {"loss_mask": mask, "loss_dice": dice, "total": 20 * mask + dice}


def run(
    folder: Path,
    first: int,
    last: int,
    stream: io.StringIO | None = None,
    ranks: Ranks | None = None,
    config: RunConfig = CONFIG,
) -> RunLog:
    """Logs the steps after `first` up to `last`, and stops there as a killed process does."""
    plan = RunPlan(config, ORDER, first)
    log = RunLog(folder, ranks or Ranks(), plan, "clips", COLUMNS, stream or io.StringIO())
    for step in range(first + 1, last + 1):
        log.step(step, losses_of(step), torch.tensor(1 / step), 1e-5 / step, 2, 0.001, torch.tensor(0.0))
    return log


def exact_columns(folder: Path) -> list[str]:
    table = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    return [",".join(row[table[0].index(name)] for name in EXACT) for row in table]


def test_r02_the_curve_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path):
    run(tmp_path / "straight", 0, TOTAL).close()
    run(tmp_path / "killed", 0, 18).close()  # checkpoint at 7, killed after 18
    run(tmp_path / "killed", 7, 13).close()  # and again after 13
    run(tmp_path / "killed", 7, TOTAL).close()
    assert exact_columns(tmp_path / "killed") == exact_columns(tmp_path / "straight")
    assert len(exact_columns(tmp_path / "straight")) == 1 + TOTAL


def test_losses_in_the_file_are_the_float32_values_bit_for_bit(tmp_path):
    run(tmp_path, 0, TOTAL).close()
    table = read_metrics(tmp_path)
    for name in ("total", "loss_mask", "loss_dice"):
        expected = np.array([losses_of(step)[name].item() for step in range(1, TOTAL + 1)], np.float32)
        assert np.array_equal(table[name].astype("float32").to_numpy(), expected)
    assert list(table["epoch"]) == [1] * 10 + [2] * 10 + [3] * 4


def test_half_a_row_left_by_a_kill_is_removed_and_never_read(tmp_path):
    run(tmp_path, 0, 10).close()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("11,2,0.12")
    assert list(read_metrics(tmp_path)["step"]) == list(range(1, 11))
    run(tmp_path, 10, 12).close()
    assert list(read_metrics(tmp_path)["step"]) == list(range(1, 13))


def test_a_run_that_starts_over_does_not_keep_an_older_curve(tmp_path):
    run(tmp_path, 0, 10).close()
    run(tmp_path, 0, 3).close()
    assert list(read_metrics(tmp_path)["step"]) == [1, 2, 3]


def test_steps_with_a_gradient_of_zero_are_counted_and_said_also_across_a_resume(tmp_path):
    def steps(first: int, last: int) -> str:
        stream = io.StringIO()
        log = RunLog(tmp_path, Ranks(), RunPlan(CONFIG, ORDER, first), "clips", COLUMNS, stream)
        for step in range(first + 1, last + 1):
            log.step(step, losses_of(step), torch.tensor(0.0 if step % 2 else 1e-30), 1e-5, 2, 0.001, torch.tensor(0.0))
        log.end_banner([])
        log.close()
        return stream.getvalue()

    assert "the gradient of step 1 is exactly 0: nothing was to be learned from its clips (1 of 1 step" in steps(0, 1)
    resumed = steps(1, 10)
    assert "5 of 10 steps had a gradient of exactly 0" in resumed
    said = [line for line in resumed.splitlines() if "is exactly 0:" in line]
    assert ["step 3" in said[0], "step 7" in said[1]] == [True, True], "the second and the fourth"
    assert (read_metrics(tmp_path)["grad_norm"] == 0).sum() == 5


def test_a_curve_with_other_columns_is_set_aside_not_mixed(tmp_path):
    MetricsTable(tmp_path / "metrics.csv", 0, {"a": "loss"}).log(1, {"a": 0.5})
    MetricsTable(tmp_path / "metrics.csv", 1, {"b": "loss"}).log(2, {"b": 0.25})
    assert (tmp_path / "metrics.csv").read_text() == "step,b\n2,0.25\n"
    assert (tmp_path / "metrics_until_step_1.csv").read_text() == "step,a\n1,0.5\n"


def test_metrics_of_a_folder_that_is_no_run_are_an_error(tmp_path):
    with pytest.raises(DataError, match="folder of a training run"):
        read_metrics(tmp_path)


def test_losses_stay_on_a_device_between_log_intervals_and_flush_reads_them_for_a_checkpoint(tmp_path):
    on_a_device = Ranks(device=torch.device("meta"))  # any device that has to be waited for
    log = run(tmp_path, 0, 8, ranks=on_a_device)
    assert list(read_metrics(tmp_path)["step"]) == [1, 2, 3, 4, 5]
    log.flush()
    assert list(read_metrics(tmp_path)["step"]) == list(range(1, 9))
    log.close()


def test_the_curve_does_not_depend_on_when_it_is_read(tmp_path):
    run(tmp_path / "late", 0, TOTAL, ranks=Ranks(device=torch.device("meta"))).close()
    run(tmp_path / "at_once", 0, TOTAL).close()
    assert exact_columns(tmp_path / "late") == exact_columns(tmp_path / "at_once")


def test_plain_lines_at_intervals_where_the_output_is_no_terminal(tmp_path):
    stream = io.StringIO()
    run(tmp_path, 0, TOTAL, stream).close()
    lines = stream.getvalue().splitlines()
    assert [line.split("/")[0] for line in lines] == [f"step {n:>2}" for n in (1, 5, 10, 15, 20, 24)]
    mean = np.mean([losses_of(step)["total"].item() for step in range(6, 11)])
    for part in (f"loss {mean:.4f}", "epoch 1/3", "mask ", "dice ", "lr 1.00e-06", "clips/s", "wait", "iB", "ETA"):
        assert part in lines[2]


def test_the_first_step_is_not_part_of_the_time_that_is_left(tmp_path, monkeypatch):
    """It also compiles, fills caches and starts the loader; neither are validations part of a step."""
    now = [0.0]
    monkeypatch.setattr(run_log.time, "perf_counter", lambda: now[0])
    stream = io.StringIO()
    plan = RunPlan(CONFIG, ORDER, 0)
    log = RunLog(tmp_path, Ranks(), plan, "clips", COLUMNS, stream)
    log.banner([])
    for step in range(1, 6):
        now[0] += 100.0 if step == 1 else 2.0
        log.step(step, losses_of(step), torch.tensor(1.0), 1e-6, 1, 0.0, torch.tensor(0))
        if step == 3:
            now[0] += 500.0
            log.validation(step, {"loss_mask": 1.0}, "")
            now[0] += 50.0  # the report
            log.restart_clock()
    log.close()
    first, fifth = (line for line in stream.getvalue().splitlines() if line.startswith("step"))
    assert first.endswith("ETA not known yet")
    assert fifth.endswith(f"ETA 0:{2 * (TOTAL - 5)}")


def test_numbers_of_validations_stand_in_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    log = run(tmp_path, 0, 1, stream)
    names = ("val_j_and_f", "val_j", "val_loss_mask", "val_presence_accuracy", "retention_j_and_f")
    log.validation(1, dict(zip(names, (0.5, 0.25, 12.125, 1.0, 0.5), strict=True)), "best val_j_and_f")
    log.validation(9, dict(zip(names, (0.125, 0.5, 2.5, 0.5, 0.25), strict=True)), "")
    log.close()
    lines = [line for line in stream.getvalue().splitlines() if not line.startswith("step")]
    title, *block = [line for line in lines if line][-10:][:5]
    assert title == "validation after step 1 (best val_j_and_f)"
    assert block == [
        "  j_and_f        j  loss_mask  presence_accuracy",
        "   0.5000   0.2500    12.1250             1.0000",
        "  retention_j_and_f",
        "             0.5000",
    ]
    assert lines[-5] == "validation after step 9"
    assert [len(line) for line in lines[-4:]] == [len(line) for line in block]


def test_a_bar_instead_of_lines_on_a_terminal_and_lines_in_the_log(tmp_path):
    stream = Terminal()
    log = run(tmp_path, 0, TOTAL, stream)
    log.warning("something is odd")
    log.close()
    assert "24/24" in stream.getvalue()
    assert "step 10/24" not in stream.getvalue()
    assert "WARNING: something is odd" in stream.getvalue()
    kept = (tmp_path / "logs" / "train.log").read_text()
    assert "step 10/24" in kept
    assert "WARNING something is odd" in kept


def test_lines_instead_of_a_bar_on_a_terminal_where_the_bar_is_switched_off(tmp_path):
    stream = Terminal()
    trainer = replace(CONFIG.trainer, enable_progress_bar=False)
    run(tmp_path, 0, TOTAL, stream, config=replace(CONFIG, trainer=trainer)).close()
    lines = stream.getvalue().splitlines()
    assert [line.split("/")[0] for line in lines] == [f"step {n:>2}" for n in (1, 5, 10, 15, 20, 24)]
    assert "\r" not in stream.getvalue()


def test_other_ranks_write_nothing_shared_and_show_warnings_only(tmp_path):
    class RankOne(Ranks):
        def mean_tensor(self, values: Tensor) -> Tensor:
            return values

    stream = Terminal()
    log = run(tmp_path, 0, 5, stream, RankOne(1, 1, 2))
    log.message("hello")
    log.warning("careful")
    log.write_once(tmp_path / "config.yaml", "x")
    log.close()
    assert stream.getvalue() == "[rank 1] WARNING: careful\n"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["rank_1.log"]
    assert "hello" in (tmp_path / "logs" / "rank_1.log").read_text()


def test_tensorboard_shows_every_step_once_after_a_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, 0, 10).close()
    run(tmp_path, 7, 12).close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("losses/total")] == list(range(1, 13))
    names = {"losses/loss_mask", "lr", "grad_norm", "timing/clips_per_second", "timing/data_wait_share"}
    assert names <= set(events.Tags()["scalars"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # tensorboard's own thread
def test_r08_a_full_disk_does_not_end_the_run_and_rows_are_written_later(tmp_path):
    stream = io.StringIO()
    log = run(tmp_path, 0, 8, stream)
    size = (tmp_path / "metrics.csv").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, limits[1]))  # less than a row fits
    try:
        for step in (9, 10, 11):
            log.step(step, losses_of(step), torch.tensor(1 / step), 1e-5 / step, 2, 0.001, torch.tensor(0.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.step(12, losses_of(12), torch.tensor(1 / 12), 1e-5 / 12, 2, 0.001, torch.tensor(0.0))
    log.close()
    assert stream.getvalue().count("metrics.csv") == 1
    assert list(read_metrics(tmp_path)["step"]) == list(range(1, 13))


def test_a_terminal_that_went_away_does_not_end_the_run(tmp_path):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    run(tmp_path, 0, 5, Gone()).close()
    assert len(read_metrics(tmp_path)) == 5


def test_write_once_replaces_whole_files_and_leaves_no_other(tmp_path):
    log = run(tmp_path, 0, 0)
    path = tmp_path / "new" / "config.yaml"
    for text in ("first", "second"):
        log.write_once(path, functools.partial(write_text, path, text))
    log.close()
    assert [(path.name, path.read_text()) for path in (tmp_path / "new").iterdir()] == [("config.yaml", "second")]


def test_closing_leaves_no_handler_behind(tmp_path):
    before = list(logging.getLogger("sam2_training").handlers)
    log = run(tmp_path, 0, 2)
    log.close()
    log.close()
    assert logging.getLogger("sam2_training").handlers == before


def test_heartbeat_names_the_newest_step(tmp_path, monkeypatch):
    monkeypatch.setattr("sam2_training.engine.heartbeat.BEAT_SECONDS", 0.0)
    run(tmp_path, 0, 12).close()
    assert (tmp_path / "logs" / "heartbeat").read_text().split()[1] == "12"


def test_banner_has_headings_and_lines_that_can_be_copied(tmp_path):
    code = 'model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", "a/rather/long/path/to/checkpoints/checkpoint.pt")'
    lines = banner_text(["# Done", "checkpoint  x", code], Terminal())
    assert lines[1].startswith("── Done ─")
    assert lines[3] == f"  {code}"
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert banner_text(["# Done"], ascii_stream)[1].startswith("-- Done -")


def test_numbers_for_people():
    assert [memory_text(m) for m in (640, 3277)] == ["640 MiB", "3.2 GiB"]
