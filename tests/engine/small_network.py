"""A network with the parts that parameter groups speak of: a trunk that numbers its layers, norms, biases."""

from __future__ import annotations

import torch
from torch import nn


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4))
        self.patch_embed = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(nn.ModuleDict({"norm": nn.LayerNorm(4), "proj": nn.Linear(4, 4)}) for _ in range(3))

    def get_num_layers(self) -> int:
        return len(self.blocks)

    def get_layer_id(self, name: str) -> int:
        if "pos_embed" in name or "patch_embed" in name:
            return 0
        return int(name.split("blocks.")[1].split(".")[0]) + 1


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = nn.Module()
        self.image_encoder.trunk = Trunk()
        self.image_encoder.neck = nn.Linear(4, 4)
        self.head = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        trunk = self.image_encoder.trunk
        x = trunk.patch_embed(x) + trunk.pos_embed
        for block in trunk.blocks:
            x = x + block["proj"](block["norm"](x))
        return self.head(self.image_encoder.neck(x)).mean()
