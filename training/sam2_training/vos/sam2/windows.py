"""Hiera's windowed attention without computing on padding.

Where a feature map does not divide into windows, stock pads it with zeros first and then projects every padded token
too: 1.7 times the tokens of sam2.1_hiera_t's third stage at 512 px, 1.2 times at 1024. A padded token's projection is
the bias, so here only real tokens are projected, and padding is filled in afterwards. Results are equal up to rounding.
"""

from __future__ import annotations

import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import MultiScaleBlock, do_pool
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor, nn


class UnpaddedBlock(MultiScaleBlock):  # type: ignore[misc]
    """A block of the trunk with the parameters and results of MultiScaleBlock."""

    def forward(self, x: Tensor) -> Tensor:
        """The block's output [B, H', W', C'] for x [B, H, W, C]; H' = H / 2 where the block pools."""
        if self.window_size == 0 or not (x.shape[1] % self.window_size or x.shape[2] % self.window_size):
            unpadded: Tensor = super().forward(x)
            return unpadded
        shortcut, normed = x, self.norm1(x)
        if self.dim != self.dim_out:
            shortcut = do_pool(self.proj(normed), self.pool)
        x = shortcut + self.drop_path(self._windowed_attention(normed, (shortcut.shape[1], shortcut.shape[2])))
        output: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return output

    def _windowed_attention(self, x: Tensor, size_after: tuple[int, int]) -> Tensor:
        """Attention inside windows, [B, H', W', C']. size_after: (H', W')."""
        attention, window = self.attn, self.window_size
        projected, _ = window_partition(F.linear(x, attention.qkv.weight), window)  # [windows, w, w, 3 C']
        projected = projected + attention.qkv.bias.to(projected.dtype)
        num_windows, heads = projected.shape[0], attention.num_heads
        query, key, value = projected.reshape(num_windows, window * window, 3, heads, -1).unbind(2)
        if attention.q_pool:
            query = do_pool(query.reshape(num_windows, window, window, -1), attention.q_pool)
            window = query.shape[1]
            query = query.reshape(num_windows, window * window, heads, -1)
        attended = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        attended = attended.transpose(1, 2).reshape(num_windows, window, window, -1)
        height, width = size_after
        padded = (height + -height % window, width + -width % window)
        merged: Tensor = attention.proj(window_unpartition(attended, window, padded, (height, width)))
        return merged


def skip_window_padding(trunk: nn.Module) -> None:
    """Turns every block of a Hiera trunk into an `UnpaddedBlock`, in place."""
    for module in trunk.modules():
        if type(module) is MultiScaleBlock:
            module.__class__ = UnpaddedBlock


def restore_window_padding(trunk: nn.Module) -> None:
    """Undoes `skip_window_padding`."""
    for module in trunk.modules():
        if type(module) is UnpaddedBlock:
            module.__class__ = MultiScaleBlock
