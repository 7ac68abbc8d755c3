"""A resume compares what a run depends on: its configuration, and the content of data and architecture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.engine.checkpoint.state import TrainState, compare


def start(saved: dict[str, Any], allowed: bool = False) -> list[str]:
    """The notes of a start that continues from a checkpoint, with an unchanged configuration."""
    state = TrainState({}, {"dataset": "d", "architecture": "a"}, 1, 1, 1)
    config = SimpleNamespace(
        checkpoint=SimpleNamespace(allow_config_change=allowed), trainer=SimpleNamespace(limit_train_batches=1.0)
    )
    loaded: Any = SimpleNamespace(config=config, differences_from=lambda saved: ([], []))
    compare({"config": {}, **saved}, state, loaded, "checkpoint.pt")
    return state.notes


@pytest.mark.parametrize("name", ["dataset", "architecture"])
def test_r11_other_content_is_refused_unless_that_is_allowed(name: str) -> None:
    same = {"dataset": "d", "architecture": "a"}
    assert start({"fingerprints": same}) == []
    with pytest.raises(ConfigError, match=f"the {name} is not the one that the checkpoint was made with"):
        start({"fingerprints": same | {name: "other"}})
    (note,) = start({"fingerprints": same | {name: "other"}}, allowed=True)
    assert note.startswith(f"changed: the {name}")


def test_a_checkpoint_of_an_earlier_version_says_that_its_content_is_not_known() -> None:
    (note,) = start({"data_fingerprint": "names and areas"})
    assert "whether the data are the same is not checked" in note
