"""When a training ends early: Lightning's rule, on plain numbers."""

from __future__ import annotations

import math

import pytest
from sam2_training.engine.config import EarlyStoppingConfig
from sam2_training.engine.early_stopping import EarlyStopping

METRIC = "val_j_and_f"


def after(config: EarlyStoppingConfig, *values: float | None) -> EarlyStopping:
    stopping = EarlyStopping(config)
    for value in values:
        stopping.update({} if value is None else {config.monitor or METRIC: value})
    return stopping


def test_without_a_metric_it_never_stops() -> None:
    assert after(EarlyStoppingConfig(patience=1), 0.1, 0.1, 0.1).reason() is None


def test_it_stops_after_patience_validations_without_improvement() -> None:
    config = EarlyStoppingConfig(monitor=METRIC, patience=2)
    assert after(config, 0.5, 0.5).reason() is None
    reason = after(config, 0.5, 0.5, 0.4).reason()
    assert reason is not None
    assert "has not improved in 2 validations, best 0.5000" in reason
    assert after(config, 0.5, 0.4, 0.6, 0.6).reason() is None  # an improvement starts the count anew


def test_a_loss_improves_downwards_and_mode_can_be_given() -> None:
    loss = EarlyStoppingConfig(monitor="val_loss", patience=1)
    assert after(loss, 2.0, 1.0).reason() is None
    assert after(loss, 1.0, 2.0).reason() is not None
    assert after(EarlyStoppingConfig(monitor="val_loss", mode="max", patience=1), 1.0, 2.0).reason() is None


def test_min_delta_is_more_than_improvement_needs() -> None:
    config = EarlyStoppingConfig(monitor=METRIC, patience=1, min_delta=0.1)
    assert after(config, 0.5, 0.61).reason() is None
    assert after(config, 0.5, 0.59).reason() is not None


def test_a_metric_that_is_missing_is_no_improvement() -> None:
    assert after(EarlyStoppingConfig(monitor=METRIC, patience=1), 0.5, None).reason() is not None


@pytest.mark.parametrize(
    ("config", "value", "words"),
    [
        (EarlyStoppingConfig(monitor=METRIC), math.nan, "check_finite"),
        (EarlyStoppingConfig(monitor=METRIC, stopping_threshold=0.9), 0.95, "better than early_stopping.stopping"),
        (EarlyStoppingConfig(monitor=METRIC, divergence_threshold=0.2), 0.1, "worse than early_stopping.divergence"),
        (EarlyStoppingConfig(monitor="val_loss", divergence_threshold=9), 10.0, "worse than"),
    ],
)
def test_thresholds_and_nan_end_it_at_once(config: EarlyStoppingConfig, value: float, words: str) -> None:
    reason = after(config, value).reason()
    assert reason is not None
    assert words in reason
    assert after(config, 0.5).reason() is None


def test_nan_is_borne_where_that_is_asked_for() -> None:
    assert after(EarlyStoppingConfig(monitor=METRIC, check_finite=False), 0.5, math.nan).reason() is None


def test_its_state_goes_on_exactly_and_not_for_another_metric() -> None:
    config = EarlyStoppingConfig(monitor=METRIC, patience=3)
    whole, first = after(config, 0.5, 0.4, 0.3, 0.2), after(config, 0.5, 0.4)
    continued = EarlyStopping(config)
    continued.load_state_dict(first.state_dict())
    for value in (0.3, 0.2):
        continued.update({METRIC: value})
    assert continued.state_dict() == whole.state_dict()
    assert continued.reason() == whole.reason() is not None
    other = EarlyStopping(EarlyStoppingConfig(monitor="val_loss"))
    other.load_state_dict(first.state_dict())
    assert other.best is None
