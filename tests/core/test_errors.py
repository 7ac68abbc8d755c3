"""Exit codes are an interface: launchers and schedulers act on them."""

from __future__ import annotations

from sam2_training.core import errors


def test_each_kind_of_end_has_its_documented_exit_code() -> None:
    codes = {
        errors.ConfigError: 2,
        errors.NonFiniteError: 3,
        errors.CheckpointError: 4,
        errors.HangError: 5,
        errors.DataError: 6,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert all(issubclass(kind, errors.TrainingError) for kind in codes)
    assert (errors.EXIT_FINISHED, errors.EXIT_PREEMPTED) == (0, 75)


def test_a_config_error_holds_one_problem_or_many() -> None:
    assert errors.ConfigError("one").problems == ["one"]
    many = errors.ConfigError(["one", "two"])
    assert many.problems == ["one", "two"]
    assert str(many) == "one\ntwo"
