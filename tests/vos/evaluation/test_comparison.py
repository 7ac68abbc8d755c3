"""Conditions and the table of an evaluation."""

from __future__ import annotations

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.vos.evaluation.comparison import Requirement, compared_rows, means, table_lines, worse_objects
from sam2_training.vos.evaluation.result import ClipResult, EvaluationResult
from sam2_training.vos.metrics.scores import FrameScore, ObjectScore, score_from_frames


def scored(object_id: int, j: float, f: float) -> ObjectScore:
    return score_from_frames(object_id, {1: FrameScore(j, f, j, True, True)})


def result(*clips: tuple[str, list[ObjectScore]]) -> EvaluationResult:
    return EvaluationResult("mask", "davis", tuple(ClipResult(name, 3, tuple(objects)) for name, objects in clips))


AFTER = result(
    ("cat", [scored(1, 0.5, 0.7), score_from_frames(2, {}, "never labeled")]), ("dog", [scored(1, 1.0, 1.0)])
)
BEFORE = result(
    ("cat", [scored(1, 0.6, 0.8), score_from_frames(2, {}, "never labeled")]), ("dog", [scored(1, 0.2, 0.4)])
)


def test_the_table_has_a_line_an_object_and_one_for_the_mean() -> None:
    lines = [line.split() for line in table_lines(AFTER, BEFORE)]
    assert lines[0] == ["video", "object", "J", "F", "J&F", "delta"]
    assert lines[1] == ["cat", "1", "0.500", "0.700", "0.600", "-0.100"]
    assert lines[2] == ["cat", "2", "–", "–", "–", "–", "(never", "labeled)"]
    assert lines[3] == ["dog", "1", "1.000", "1.000", "1.000", "+0.700"]
    assert " ".join(lines[4]) == "mean of 2 object(s) 0.750 0.850 0.800 +0.300 (1 without a score)"


def test_the_columns_stand_under_their_titles_also_with_long_names() -> None:
    for name in ("a", "a-video-with-a-very-long-name-indeed"):
        lines = table_lines(result((name, [scored(1, 0.5, 0.7)])), None)
        assert lines[0].split() == ["video", "object", "J", "F", "J&F"]
        assert {len(line) for line in lines} == {len(lines[0])}


def test_without_a_dash_in_the_encoding_another_sign_stands_there() -> None:
    assert table_lines(AFTER, None, "-")[2].isascii()


def test_differences_are_of_what_both_have() -> None:
    rows = compared_rows(AFTER, BEFORE)
    assert [row["delta_j"] for row in rows] == [pytest.approx(-0.1), None, pytest.approx(0.8)]
    assert means(AFTER, BEFORE)["delta_j_and_f"] == pytest.approx(0.3)
    assert "delta_j" not in means(AFTER, None)
    assert worse_objects(AFTER, BEFORE) == ["cat object 1"]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("j_and_f>=0.8", True),
        ("j_and_f>0.81", False),
        (" j < .9 ", True),
        ("f<=0.84", False),
        ("delta_j_and_f>=0.25", True),
        ("dice>=1e-3", True),
    ],
)
def test_conditions_compare_the_mean(text: str, holds: bool) -> None:
    requirement = Requirement.parse(text, has_baseline=True)
    numbers = means(AFTER, BEFORE)
    assert requirement.holds(numbers) is holds
    assert ("does not hold" in requirement.verdict(numbers)) is not holds


def test_an_absent_number_satisfies_no_condition() -> None:
    for text in ("j>=0", "j<=1"):
        assert not Requirement.parse(text, has_baseline=False).holds({})
    assert "j is absent" in Requirement.parse("j>=0", has_baseline=False).verdict({})


@pytest.mark.parametrize("text", ["", "j", "j>=", "j>=high", "j==0.5", "j>=0.5 f>=0.5", "jandf>=0.5", "j>=nan"])
def test_what_is_no_condition_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a condition; write <metric><comparison><number>"):
        Requirement.parse(text, has_baseline=True)
