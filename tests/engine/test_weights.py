"""What of a network is saved and measured: the network itself, another form of it, or the average of what learns."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.task import Validation
from sam2_training.engine.trainer import Trainer
from sam2_training.engine.weights import AVERAGE, LEARNING, RunWeights
from torch import Tensor, nn

from tests.e2e.conftest import state_hash
from tests.engine.in_process import STEPS, config, train
from tests.engine.second_task import RegressionTask, RegressionValidation
from tests.two_ranks import seen_by_two_ranks


def plain(model: nn.Module) -> dict[str, Any]:
    return {"model": model.state_dict()}


def doubled(model: nn.Module) -> dict[str, Any]:
    """A task's own form: one tensor changed, one left out of it, a word beside it."""
    form = {name: tensor * 2 if name == "0.weight" else tensor for name, tensor in model.state_dict().items()}
    return {"model": form, "beside": "doubled"}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    made[2].requires_grad_(False)
    return made


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def learn(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by)


def test_a_network_without_average_is_saved_as_it_is_and_nothing_besides() -> None:
    model = network()
    weights = RunWeights(model, plain)
    weights.after_step(1)
    assert list(weights.state()) == ["model"]
    assert same(weights.state()["model"], values(model))


def test_the_average_follows_the_rule_and_only_what_learns() -> None:
    model = network()
    weights = RunWeights(model, plain, ema_decay=0.5)
    expected = {name: p.data.double().clone() for name, p in model.named_parameters() if p.requires_grad}
    for step in range(1, 12):
        learn(model, 0.1 * step)
        weights.after_step(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            if name in expected:
                expected[name] = decay * expected[name] + (1 - decay) * parameter.data.double()
    found = weights.state()[AVERAGE]
    assert found.keys() == expected.keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert all(torch.allclose(found[name].double(), tensor, atol=1e-6) for name, tensor in expected.items())
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    assert min(0.5, 2 / 11) < 0.5, "the first steps must take a smaller decay, or this proves half of the rule"


def test_the_result_is_the_average_and_the_network_gets_its_own_weights_back() -> None:
    model = network()
    weights = RunWeights(model, plain, ema_decay=0.9)
    learn(model, 1.0)
    weights.after_step(1)
    before = values(model)
    with contextlib.suppress(KeyError), weights.as_result() as result:
        assert result is model
        averaged = values(result)
        raise KeyError("an error in between")
    assert same(values(model), before)
    assert not torch.equal(averaged["0.weight"], before["0.weight"])
    assert torch.equal(averaged["2.weight"], before["2.weight"])
    assert same(weights.result()["model"], averaged)
    assert list(weights.result()) == ["model"]


@pytest.mark.parametrize("form", [plain, doubled])
@pytest.mark.parametrize("decay", [None, 0.9])
def test_a_state_comes_back_bit_for_bit_and_goes_on_alike(form: Any, decay: float | None, tmp_path: Path) -> None:
    model, other = network(), network(1)
    whole, continued = RunWeights(model, form, decay), RunWeights(other, form, decay)
    learn(model, 1.0)
    whole.after_step(1)
    torch.save(whole.state(), tmp_path / "state.pt")
    continued.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for step in (2, 3):
        for network_, weights in ((model, whole), (other, continued)):
            learn(network_, 0.3)
            weights.after_step(step)
    assert same(values(model), values(other))
    assert same(whole.state()["model"], continued.state()["model"])
    assert whole.state().get("beside") == ("doubled" if form is doubled else None)


def test_what_is_the_same_is_saved_once(tmp_path: Path) -> None:
    """With a task's own form, only the tensor that differs is saved besides; an average lies in the file once."""
    state = RunWeights(network(), doubled).state()
    assert list(state[LEARNING]) == ["0.weight"]
    large = nn.Linear(300, 300)
    sizes = {}
    for decay in (None, 0.9):
        torch.save(RunWeights(large, plain, decay).state(), tmp_path / "state.pt")
        sizes[decay] = (tmp_path / "state.pt").stat().st_size
    assert sizes[0.9] - sizes[None] == pytest.approx(300 * 301 * 4, rel=0.02)


def test_an_average_that_is_new_starts_at_the_weights_of_the_checkpoint() -> None:
    model, other = network(), network(1)
    learn(model, 1.0)
    weights = RunWeights(other, plain, ema_decay=0.9)
    weights.restore(RunWeights(model, plain).state())
    assert same(weights.result()["model"], values(model))


def test_an_average_that_is_given_up_leaves_the_weights_that_learned() -> None:
    model, other = network(), network(1)
    averaged = RunWeights(model, plain, ema_decay=0.9)
    learn(model, 1.0)
    averaged.after_step(1)
    RunWeights(other, plain).restore(averaged.state())
    assert same(values(other), values(model))


def test_a_state_of_another_network_is_refused() -> None:
    weights = RunWeights(network(), plain, ema_decay=0.9)
    with pytest.raises(CheckpointError, match="another network"):
        weights.restore(RunWeights(nn.Linear(1, 1), plain).state())
    thawed = network()
    thawed[2].requires_grad_(True)
    with pytest.raises(CheckpointError, match=r"averages other parameters.*2\.bias"):
        weights.restore(RunWeights(thawed, plain, ema_decay=0.9).state())


class RecordingValidation(RegressionValidation):
    """Keeps the weights that it measured."""

    measured: ClassVar[list[dict[str, Tensor]]] = []

    def measure(self, model: nn.Module, *others: object) -> dict[str, float]:
        self.measured.append(values(model))
        return super().measure(model, *others)


class RecordedTask(RegressionTask):
    def validation(self) -> Validation[nn.Module]:
        return RecordingValidation()


def saved(folder: Path, name: str = "checkpoint.pt") -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints" / name, weights_only=True)
    return content


def test_a_run_validates_the_average_and_keeps_it_as_its_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RecordingValidation.measured.clear()
    assert train(config(tmp_path / "ema", {"ema_decay": 0.9}), RecordedTask) == 0
    assert "the weights' average, trainer.ema_decay=0.9" in "".join(capsys.readouterr())
    assert train(config(tmp_path / "without"), RecordedTask) == 0
    assert "average" not in "".join(capsys.readouterr())
    averaged, plain_run = saved(tmp_path / "ema"), saved(tmp_path / "without")
    last, last_without = RecordingValidation.measured[len(RecordingValidation.measured) // 2 - 1], plain_run["model"]
    assert same(averaged["model"], last), "the validation measures what the checkpoint holds"
    assert same(averaged[LEARNING], last_without), "the average has no effect on training"
    assert not same(averaged["model"], averaged[LEARNING])
    best = saved(tmp_path / "ema", "best_val_loss.pt")
    assert any(same(best["model"], measured) for measured in RecordingValidation.measured)
    assert AVERAGE not in plain_run
    assert LEARNING not in plain_run


class DoublingTask(RegressionTask):
    def saved_form(self, model: nn.Module) -> dict[str, Any]:
        return doubled(model)


@pytest.mark.parametrize("trainer", [{}, {"ema_decay": 0.9}])
def test_a_tasks_own_form_is_in_every_file_and_the_run_goes_on_from_its_own_weights(
    tmp_path: Path, trainer: dict[str, float]
) -> None:
    assert train(config(tmp_path / "doubled", trainer), DoublingTask) == 0
    assert train(config(tmp_path / "plain", trainer)) == 0
    found, expected = saved(tmp_path / "doubled"), saved(tmp_path / "plain")
    assert torch.equal(found["model"]["0.weight"], 2 * expected["model"]["0.weight"])
    own, plain_own = ({**content["model"], **content.get(LEARNING, {})} for content in (found, expected))
    assert same(own, plain_own)
    for name in ("checkpoint.pt", "best_val_loss.pt"):
        assert saved(tmp_path / "doubled", name)["beside"] == "doubled"


def test_a_run_with_an_average_that_was_stopped_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"ema_decay": 0.9}
    assert train(config(tmp_path / "whole", asked)) == 0
    begin = Trainer._train

    def stopped(self: Any, log: Any, stop: StopRequest) -> Any:
        after_step = self.weights.after_step

        def stop_after(step: int) -> None:
            after_step(step)
            if step == STEPS // 2:
                signal.raise_signal(signal.SIGTERM)

        self.weights.after_step = stop_after
        return begin(self, log, stop)

    monkeypatch.setattr(Trainer, "_train", stopped)
    assert train(config(tmp_path / "stopped", asked)) == 75
    monkeypatch.undo()
    assert train(config(tmp_path / "stopped", asked)) == 0
    whole, continued = saved(tmp_path / "whole"), saved(tmp_path / "stopped")
    for part in ("model", LEARNING, AVERAGE):
        assert same(whole[part], continued[part]), part
    with pytest.raises(ConfigError, match=r"trainer\.ema_decay: 0\.9 -> 0\.8"):
        train(config(tmp_path / "stopped", {"ema_decay": 0.8}))


TWO_RANKS = """
import json, os
from pathlib import Path
from sam2_training.engine.trainer import Trainer
from tests.e2e.conftest import state_hash
from tests.e2e.conftest import state_hash
from tests.engine.in_process import config, train
close = Trainer.close
def closing(self, *others):
    hashes = {name: state_hash(part) for name, part in self.weights.state().items()}
    Path(os.environ["RESULT"] + os.environ["RANK"]).write_text(json.dumps(hashes))
    return close(self, *others)
Trainer.close = closing
train(config(Path(os.environ["FOLDER"]), {"ema_decay": 0.9}))
"""


def test_the_average_is_the_same_on_both_ranks(tmp_path: Path) -> None:
    one, other = seen_by_two_ranks(TWO_RANKS, tmp_path, FOLDER=str(tmp_path / "run"))
    assert one == other
    assert len({one["model"], one[LEARNING]}) == 2
    assert one[AVERAGE] == state_hash(saved(tmp_path / "run")[AVERAGE])
