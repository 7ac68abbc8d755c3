"""The tracker leaves the network as it was, keeps its memory small, and says what is wrong with its input."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sam2.utils.misc import load_video_frames
from sam2_training.core.errors import DataError, NonFiniteError
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.frames import FrameStream, Normalizer
from sam2_training.vos.evaluation.prompts import Click, Prompt
from sam2_training.vos.evaluation.tracked_objects import TrackedObjects
from sam2_training.vos.evaluation.tracker import VideoTracker
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.inference import MemoryWindow

from tests.vos.evaluation.stock_tracking import TINY, FilesClip, vivid_network

CPU = torch.device("cpu")


class LongClip:
    """A moving square, as long as one likes."""

    name = "long"

    def __init__(self, num_frames: int, size: tuple[int, int] = (48, 64)) -> None:
        self.num_frames, self.size = num_frames, size
        self.read: list[int] = []

    def square(self, t: int) -> np.ndarray:
        mask = np.zeros(self.size, np.bool_)
        mask[10:30, 5 + t % 30 : 25 + t % 30] = True
        return mask

    def read_frame(self, frame_index: int) -> np.ndarray:
        self.read.append(frame_index)
        noise = np.random.default_rng(frame_index).integers(0, 100, (*self.size, 3), dtype=np.uint8)
        return np.asarray(noise + 120 * self.square(frame_index)[..., None].astype(np.uint8))


def weights_hash(network: TrainableSAM2) -> str:
    digest = hashlib.sha256()
    for name, value in sorted([*network.named_parameters(), *network.named_buffers()]):
        digest.update(name.encode() + value.detach().numpy().tobytes())
    return digest.hexdigest()


def everything_about(network: TrainableSAM2) -> dict[str, object]:
    """What a validation inside a training must not change."""
    decoder = network.sam_mask_decoder
    return {
        "weights": weights_hash(network),
        "modes": [module.training for module in network.modules()],
        "learns": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "grad mode": torch.is_grad_enabled(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": [str(part) for part in np.random.get_state()],
        "settings": [
            decoder.dynamic_multimask_via_stability,
            decoder.dynamic_multimask_stability_delta,
            decoder.dynamic_multimask_stability_thresh,
            network.binarize_mask_from_pts_for_mem_enc,
        ],
        "plain attributes": set(vars(network)),
        "threads": threading.active_count(),
    }


def some_prompts(made: EvaluationClip) -> list[Prompt]:
    return [Prompt(1, 0, mask=made.ground_truth(0)[0]), Prompt(2, 0, clicks=(Click(20, 20, True),))]


@pytest.mark.parametrize("how", ["to the end", "closed early", "failed"])
def test_tracking_disturbs_nothing(how: str, vivid: TrainableSAM2, made: EvaluationClip) -> None:
    vivid.train()
    for parameter in vivid.image_encoder.parameters():
        parameter.requires_grad = False
    vivid.train()  # frozen parts rest in evaluation mode: not all flags are equal
    before = everything_about(vivid)
    assert len(set(before["modes"])) == 2  # type: ignore[call-overload]
    masks = VideoTracker(vivid, CPU).track(made, some_prompts(made))
    if how == "to the end":
        assert len(list(masks)) == made.num_frames
    elif how == "closed early":
        next(masks)
        assert torch.is_grad_enabled(), "whoever takes the masks keeps their own mode of gradients"
        masks.close()  # type: ignore[attr-defined]
    else:
        broken = LongClip(5)
        broken.read_frame = lambda _: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        with pytest.raises(ZeroDivisionError):
            list(VideoTracker(vivid, CPU).track(broken, [Prompt(1, 0, mask=broken.square(0))]))
    assert everything_about(vivid) == before


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_training_step_after_tracking_is_what_it_would_have_been(
    dtype: torch.dtype | None, made: EvaluationClip, gradient_of: Callable[[TrainableSAM2], torch.Tensor]
) -> None:
    undisturbed, disturbed = vivid_network(TINY, 64).train(), vivid_network(TINY, 64).train()
    first = gradient_of(undisturbed)
    assert first.any()
    list(VideoTracker(disturbed, CPU, dtype).track(made, some_prompts(made)))
    assert torch.equal(gradient_of(disturbed), first)


@pytest.fixture
def gradient_of() -> Callable[[TrainableSAM2], torch.Tensor]:
    """The gradient of one training step on a small batch, as a vector."""
    from sam2_training.engine.task import StepContext
    from sam2_training.vos.loss_config import LossConfig
    from sam2_training.vos.model.step import ClipStep

    from tests.vos.moving_clips import make_batch

    def gradient(network: TrainableSAM2) -> torch.Tensor:
        torch.manual_seed(3)
        step = ClipStep(network, LossConfig())
        step(make_batch(3), 2.0, StepContext(0, 0))["total"].backward()
        found = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
        return torch.cat(found)

    return gradient


def test_objects_do_not_influence_each_other_and_frames_are_encoded_once(
    vivid: TrainableSAM2, made: EvaluationClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    trunk = type(vivid.image_encoder.trunk)
    original = trunk.forward
    monkeypatch.setattr(trunk, "forward", lambda self, x: encoded.append(len(x)) or original(self, x))
    prompts = [Prompt(n + 1, 0, mask=made.ground_truth(0)[n]) for n in (0, 1)] + [Prompt(9, 2, box=(5, 5, 30, 30))]
    together = list(VideoTracker(vivid, CPU).track(made, prompts))
    assert encoded == [1] * made.num_frames
    assert [frame.object_ids for frame in together] == [(1, 2)] * 2 + [(1, 2, 9)] * 4
    for prompt in prompts:
        alone = {frame.frame_index: frame for frame in VideoTracker(vivid, CPU).track(made, [prompt])}
        assert min(alone) == prompt.frame_index
        for frame in together[prompt.frame_index :]:
            row = frame.object_ids.index(prompt.object_id)
            assert (frame.masks[row] ^ alone[frame.frame_index].masks[0]).mean() <= 1e-3
            assert frame.presence[row] == pytest.approx(alone[frame.frame_index].presence[0], abs=1e-3)


def test_objects_keep_the_order_of_their_prompts(vivid: TrainableSAM2, made: EvaluationClip) -> None:
    prompts = [
        Prompt(9, 1, box=(5, 5, 30, 30)),
        Prompt(2, 0, mask=made.ground_truth(0)[1]),
        Prompt(5, 1, box=(2, 2, 9, 9)),
    ]
    frames = list(VideoTracker(vivid, CPU).track(made, prompts))
    assert [frame.object_ids for frame in frames[:2]] == [(2,), (9, 2, 5)]


def test_without_prompts_nothing_is_read(vivid: TrainableSAM2) -> None:
    clip = LongClip(4)
    assert list(VideoTracker(vivid, CPU).track(clip, [])) == []
    assert clip.read == []


def kept_while_tracking(network: TrainableSAM2, clip: LongClip, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of memory entries after each frame."""
    kept = []
    original = TrackedObjects.advance

    def advance(self: TrackedObjects, *arguments: object) -> object:
        prediction = original(self, *arguments)  # type: ignore[arg-type]
        tensors = [value for entry in self.recent.values() for value in entry.values() if torch.is_tensor(value)]
        kept.append(sum(tensor.untyped_storage().nbytes() for tensor in tensors))
        return prediction

    monkeypatch.setattr(TrackedObjects, "advance", advance)
    prompts = [Prompt(n, 0, mask=clip.square(0)) for n in (1, 2)]
    for frame in VideoTracker(network, CPU).track(clip, prompts):
        assert len(clip.read) <= frame.frame_index + 5, "frames are read ahead, but not far"
    return kept


def test_memory_stops_growing(vivid: TrainableSAM2, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = kept_while_tracking(vivid, LongClip(40), monkeypatch)
    window = MemoryWindow.of(vivid)
    assert (window.masks, window.pointers) == (6, 15)
    assert max(kept) == kept[16] == kept[30]
    side, objects = 64 // 16, 2
    a_map, a_pointer = objects * 64 * side * side * 2, objects * 128 * 4  # bfloat16 maps, float32 pointers
    assert kept[30] <= (window.masks + 1) * a_map + (window.pointers + 1) * a_pointer


@pytest.mark.slow
def test_two_thousand_frames_take_no_more_memory_than_two_hundred(
    vivid: TrainableSAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    kept_while_tracking(vivid, LongClip(200), monkeypatch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.undo()
    kept = kept_while_tracking(vivid, LongClip(2000), monkeypatch)
    assert len(kept) == 2000
    assert max(kept) == kept[16]
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 50, f"{grown_mib:.0f} MiB more; 1,800 frames of this size would be 16 MiB, their memory 8"


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_no_entry_that_can_still_be_used_is_dropped(
    stride: int, vivid: TrainableSAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are the same when nothing is ever dropped, also where memory takes every r-th frame."""
    vivid.memory_temporal_stride_for_eval = stride
    clip = LongClip(45)
    prompts = [Prompt(1, 0, mask=clip.square(0))]
    bounded = list(VideoTracker(vivid, CPU).track(clip, prompts))
    monkeypatch.setattr(TrackedObjects, "_forget", lambda *_: None)
    unbounded = list(VideoTracker(vivid, CPU).track(clip, prompts))
    for one, other in zip(bounded, unbounded, strict=True):
        assert np.array_equal(one.masks, other.masks)
        assert one.presence == other.presence


def test_frames_are_prepared_as_stock_does(dogs: FilesClip, vivid: TrainableSAM2, tmp_path) -> None:  # type: ignore[no-untyped-def]
    dogs.num_frames = 3
    stock, height, width = load_video_frames(dogs.linked(tmp_path / "frames"), 160, True, compute_device=CPU)
    normalize = Normalizer(160, vivid.pixel_mean, vivid.pixel_std)
    with FrameStream(dogs, normalize, CPU) as stream:
        for index, image in stream.in_order(0):
            assert torch.equal(image[0], stock[index])
        assert stream.size == (height, width)
        assert torch.equal(stream.one(1)[0], stock[1])


def test_bad_input_is_named(vivid: TrainableSAM2) -> None:
    tracker, clip = VideoTracker(vivid, CPU), LongClip(4)
    square = clip.square(0)
    with pytest.raises(DataError, match="object 3 of long is prompted on frame 4, but the video has frames 0 to 3"):
        list(tracker.track(clip, [Prompt(3, 4, mask=square)]))
    with pytest.raises(DataError, match="object 3 of long has two prompts on frame 1"):
        list(tracker.track(clip, [Prompt(3, 1, mask=square), Prompt(3, 1, box=(1, 1, 9, 9))]))
    with pytest.raises(DataError, match=r"mask .* is 32x32, .* 48x64"):
        list(tracker.track(clip, [Prompt(3, 0, mask=np.ones((32, 32), np.bool_))]))
    changing = LongClip(4)
    changing.read_frame = lambda t: np.zeros((48, 64 + t // 2, 3), np.uint8)  # type: ignore[method-assign, assignment]
    with pytest.raises(DataError, match="frame 2 of long is 48x65, those before are 48x64"):
        list(tracker.track(changing, [Prompt(3, 0, mask=square)]))


def test_weights_that_are_not_finite_are_an_error_and_no_empty_masks(vivid: TrainableSAM2) -> None:
    with torch.no_grad():
        vivid.sam_mask_decoder.iou_token.weight.fill_(torch.nan)
    clip = LongClip(3)
    with pytest.raises(NonFiniteError, match="frame 0 of long"):
        list(VideoTracker(vivid, CPU).track(clip, [Prompt(1, 0, clicks=(Click(9, 9, True),))]))


def test_bfloat16_gives_nearly_the_same_masks(dogs: FilesClip, vivid: TrainableSAM2) -> None:
    prompts = [Prompt(1, 0, mask=dogs.mask(1))]
    full = list(VideoTracker(vivid, CPU).track(dogs, prompts))
    half = list(VideoTracker(vivid, CPU, torch.bfloat16).track(dogs, prompts))
    different = [(one.masks ^ other.masks).mean() for one, other in zip(full, half, strict=True)]
    assert 0 < max(different) < 0.1
