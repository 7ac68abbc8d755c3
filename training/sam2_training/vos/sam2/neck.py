"""The image encoder's feature pyramid, with the two fine levels computed directly at their final width.

Stock maps a fine level of the trunk to d_model channels and then, in the mask decoder's conv_s0 or conv_s1, to 32 or
64. Nothing lies between the two 1x1 convolutions, so one convolution with the product of their weights gives the same
result up to rounding, without the wide maps: at 1024 px and 8 frames those of the finest level are 512 MiB in float32,
and as much for their gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.sam.mask_decoder import MaskDecoder
from torch import Tensor, nn

FINE_LEVELS = 2


def feature_stride(encoder: ImageEncoder) -> int:
    """Pixels of the image from one position of the coarsest feature map to the next, by the trunk's layers (Hiera)."""
    trunk = encoder.trunk
    last_block = trunk.stage_ends[-1 - encoder.scalp]
    poolings = sum(block <= last_block for block in trunk.q_pool_blocks)
    return int(trunk.patch_embed.proj.stride[0] * trunk.q_stride[0] ** poolings)


def is_mergeable(encoder: ImageEncoder) -> bool:
    """Whether the fine levels are plain 1x1 convolutions of the trunk's, as published."""
    neck = encoder.neck
    num_levels = len(neck.convs)
    convolutions = [neck.convs[num_levels - 1 - level].conv for level in range(FINE_LEVELS)]
    return (
        num_levels - encoder.scalp == FINE_LEVELS + 1
        and not set(range(FINE_LEVELS)) & set(neck.fpn_top_down_levels)
        and all(tuple(convolution.kernel_size) == (1, 1) for convolution in convolutions)
        and all(tuple(convolution.padding) == (0, 0) for convolution in convolutions)
        and all(tuple(convolution.stride) == (1, 1) for convolution in convolutions)
    )


def encode_merged(encoder: ImageEncoder, decoder: MaskDecoder, images: Tensor) -> list[Tensor]:
    """Feature maps of images [N, 3, S, S]: 32 channels at stride 4, 64 at stride 8, d_model at stride 16.

    (With d_model = 256; a quarter and an eighth of it elsewhere.) encoder: one that `is_mergeable`; decoder: the one
    whose conv_s0 and conv_s1 take the fine levels.
    """
    levels = encoder.trunk(images)
    neck = encoder.neck
    last = len(neck.convs) - 1
    fine = [
        _two_convolutions(levels[level], neck.convs[last - level].conv, second)
        for level, second in enumerate((decoder.conv_s0, decoder.conv_s1))
    ]
    coarse: Tensor | None = None
    for level in range(last, FINE_LEVELS - 1, -1):
        lateral = neck.convs[last - level](levels[level])
        coarse = _with_top_down(lateral, coarse, neck) if level in neck.fpn_top_down_levels else lateral
    return [*fine, coarse] if coarse is not None else fine


def _with_top_down(lateral: Tensor, coarser: Tensor | None, neck: FpnNeck) -> Tensor:
    """A level plus the enlarged one below it, as sam2's FpnNeck adds them."""
    if coarser is None:
        return lateral
    corners = None if neck.fpn_interp_model == "nearest" else False
    enlarged = F.interpolate(
        coarser.to(torch.float32), scale_factor=2.0, mode=neck.fpn_interp_model, align_corners=corners
    )
    total = lateral + enlarged
    return total / 2 if neck.fuse_type == "avg" else total


def _two_convolutions(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """second(first(x)) for 1x1 convolutions, as one convolution."""
    # The product of the weights keeps full precision under autocast; the large convolution does not need it.
    with torch.autocast(x.device.type, enabled=False):
        outer = second.weight.flatten(1)
        weight = (outer @ first.weight.flatten(1))[:, :, None, None]
        bias = None
        if first.bias is not None and second.bias is not None:
            bias = outer @ first.bias + second.bias
    return F.conv2d(x, weight, bias)
