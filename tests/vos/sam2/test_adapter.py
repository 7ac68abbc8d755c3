"""The wrapper around SAM2Base gives stock's results."""

from __future__ import annotations

import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.adapter import MemoryBank
from sam2_training.vos.sam2.points import Points


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("present", [True, False])
def test_the_decoders_output_equals_stocks(network: TrainableSAM2, multimask: bool, present: bool) -> None:
    """Our `_forward_sam_heads` leaves out the candidates' full-size logits, and nothing else."""
    network.eval()
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(9.0 if present else -9.0)
        features = network.encode_images(torch.randn(2, 3, 64, 64))
        arguments = {
            "backbone_features": features.maps[-1],
            "point_inputs": {"point_coords": torch.rand(2, 1, 2) * 64, "point_labels": torch.ones(2, 1).int()},
            "mask_inputs": torch.randn(2, 1, 16, 16),
            "high_res_features": features.maps[:-1],
            "multimask_output": multimask,
        }
        ours, stock = network._forward_sam_heads(**arguments), SAM2Base._forward_sam_heads(network, **arguments)
    assert ours[1] is None
    for index in (0, 2, 3, 4, 5, 6):
        assert torch.equal(ours[index], stock[index]), index
    assert (ours[6] > 0).all() == present


def test_image_features_equal_stocks(network: TrainableSAM2) -> None:
    """To rounding: the two fine levels may be made another way. Gradients too, weighted alike."""
    images = torch.randn(2, 3, 64, 64)
    stock = SAM2Base.forward_image(network, images)
    ours = network.encode_images(images)
    position = stock["vision_pos_enc"][-1][:1].flatten(2).permute(2, 0, 1)
    assert torch.equal(ours.position, position)
    gradients = []
    for maps in (ours.maps, stock["backbone_fpn"]):
        network.zero_grad()
        sum((level * torch.linspace(-1, 1, level.shape[1])[:, None, None]).sum() for level in maps).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert len(ours.maps) == len(stock["backbone_fpn"]) == 3
    for one, other in zip(ours.maps, stock["backbone_fpn"], strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[1].items():
        error = (gradients[0][name] - gradient).norm()
        assert error <= 1e-4 * gradient.norm() + 1e-5, name


def test_training_goes_on_after_evaluation(network: TrainableSAM2) -> None:
    """Encodings that are kept between calls must be usable with gradients, also after evaluation in bfloat16."""
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network.eval().encode_images(images)
    network.train().encode_images(images).maps[-1].sum().backward()


def test_the_decoder_before_any_image_is_an_error(network: TrainableSAM2) -> None:
    with pytest.raises(RuntimeError, match="encode_images"):
        network._forward_sam_heads(torch.zeros(1, 128, 4, 4))


def test_more_points_reach_the_decoder(network: TrainableSAM2) -> None:
    network.eval()
    features = network.encode_images(torch.randn(1, 3, 64, 64))
    points = Points(torch.tensor([[[9.0, 9.0]]]), torch.tensor([[1]], dtype=torch.int32))
    prediction, first, given = network.decode_first(0, True, features, 1, points, None, MemoryBank(), 1)
    _, second = network.decode_next(given, True, points.with_more(points), prediction)
    assert first.low_res_masks.shape[1] == 3
    assert second.low_res_masks.shape[1] == 1, "several clicks are not ambiguous"
