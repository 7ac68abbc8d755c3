"""Rates that SAM 2's own training code gives every parameter of the published recipe's network, as JSON on stdout.

Usage: stock_rates.py <stock folder> <progress> ...; run as a process of its own, since that code is a package called
`training`, as ours is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [sys.argv[1], *(p for p in sys.path if Path(p or ".").resolve() not in (HERE, HERE.parents[1]))]

import sam2  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from training.optimizer import construct_optimizer  # noqa: E402

RECIPE = Path(sam2.__path__[0]) / "configs" / "sam2.1_training" / "sam2.1_hiera_b+_MOSE_finetune.yaml"


def main() -> None:
    OmegaConf.register_new_resolver("times", lambda a, b: a * b)
    OmegaConf.register_new_resolver("divide", lambda a, b: a / b)
    recipe = OmegaConf.load(RECIPE).trainer
    model = instantiate(recipe.model)
    options = recipe.optim
    optimizer = construct_optimizer(model, options.optimizer, options.options, options.param_group_modifiers)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates: dict[str, dict[str, tuple[float, float]]] = {}
    for where in sys.argv[2:]:
        optimizer.step_schedulers(float(where), step=0)
        rates[where] = {
            names[id(parameter)]: (group["lr"], group["weight_decay"])
            for group in optimizer.optimizer.param_groups
            for parameter in group["params"]
        }
    json.dump(rates, sys.stdout)


if __name__ == "__main__":
    main()
