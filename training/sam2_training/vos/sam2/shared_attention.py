"""Memory attention that computes only once what is the same for all objects of a clip.

Before the first cross-attention to memory, an image's features are the same for every object, and so are the first
layer's norm and self-attention. Stock computes them for each object. Results are equal up to rounding.
"""

from __future__ import annotations

from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor, nn


class SharedStartAttention(MemoryAttention):  # type: ignore[misc]
    """MemoryAttention with the same parameters and results."""

    def forward(
        self,
        curr: Tensor | list[Tensor],
        memory: Tensor,
        curr_pos: Tensor | list[Tensor] | None = None,
        memory_pos: Tensor | None = None,
        num_obj_ptr_tokens: int = 0,
    ) -> Tensor:
        """Features with memory, [H * W, O, C]; arguments as in MemoryAttention, sequence first.

        The start is shared when `curr` is one image's features expanded to O objects (stride 0).
        """
        image = curr[0] if isinstance(curr, list) else curr
        position = curr_pos[0] if isinstance(curr_pos, list) else curr_pos
        if position is None or memory_pos is None or not self._can_share(image):
            separate: Tensor = super().forward(curr, memory, curr_pos, memory_pos, num_obj_ptr_tokens)
            return separate
        one, position = image[:, :1].transpose(0, 1), position.transpose(0, 1)
        if self.pos_enc_at_input:
            one = one + 0.1 * position
        memory, memory_pos = memory.transpose(0, 1), memory_pos.transpose(0, 1)
        output = _first_self_attention(self.layers[0], one, position, memory.shape[0])
        for index, layer in enumerate(self.layers):
            is_rotary = isinstance(layer.cross_attn_image, RoPEAttention)
            if index > 0:
                output = layer._forward_sa(output, position)
            output = layer._forward_ca(output, memory, position, memory_pos, num_obj_ptr_tokens if is_rotary else 0)
            widened = layer.dropout(layer.activation(layer.linear1(layer.norm3(output))))
            output = output + layer.dropout3(layer.linear2(widened))
        normed: Tensor = self.norm(output)
        return normed.transpose(0, 1)

    def _can_share(self, image: Tensor) -> bool:
        """Whether all objects see one image; dropout on attention weights would have to differ between them."""
        one_image = image.shape[1] > 1 and image.stride(1) == 0
        attention = self.layers[0].self_attn
        return one_image and bool(self.batch_first) and not (attention.training and attention.dropout_p > 0)


def _first_self_attention(layer: MemoryAttentionLayer, one: Tensor, position: Tensor, num_objects: int) -> Tensor:
    """The first layer's self-attention [O, H * W, C] of one image's features [1, H * W, C]."""
    normed = layer.norm1(one)
    query = normed + position if layer.pos_enc_at_attn else normed
    attended = layer.self_attn(query, query, v=normed)
    output: Tensor = one + layer.dropout1(attended.expand(num_objects, -1, -1))
    return output


def share_first_self_attention(memory_attention: nn.Module) -> None:
    """Turns sam2's memory attention into a `SharedStartAttention`, in place; any other module stays as it is."""
    layers = getattr(memory_attention, "layers", [])
    if type(memory_attention) is MemoryAttention and all(type(layer) is MemoryAttentionLayer for layer in layers):
        memory_attention.__class__ = SharedStartAttention
