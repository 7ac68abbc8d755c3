"""Any frame of a video file at any time is the frame of a decode from beginning to end."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.content import VideoContent
from sam2_training.data.frames import FrameLibrary
from sam2_training.data.video_frames import VideoFrames

from tests.data.encoded_videos import CLOSED_GROUPS, OPEN_GROUPS, decoded, encode, pictures, remux

IRREGULAR = tuple(int(time) for time in np.cumsum(np.random.default_rng(1).integers(20, 400, 30)))


def check_equal(frames: VideoFrames, expected: list[np.ndarray]) -> None:
    """In order, backward, and in any order."""
    assert len(frames.files) == len(expected)
    mixed = 2 * list(range(len(expected)))
    random.Random(0).shuffle(mixed)
    for t in [*range(len(expected)), *reversed(range(len(expected))), *mixed]:
        assert np.array_equal(frames.read(t), expected[t]), f"frame {t}"


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "m4v"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_every_container_with_frames_stored_out_of_order(tmp_path: Path, suffix: str, codec: str) -> None:
    path = encode(tmp_path / f"v.{suffix}", codec, options=CLOSED_GROUPS)
    frames = VideoFrames(str(path))
    check_equal(frames, decoded(path))
    assert frames.files[:2] == ("00000", "00001")
    assert frames.frames_per_second() == 10


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
        ("webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
        ("avi", "mjpeg", {}),
        ("mp4", "libx265", {"x265-params": "keyint=9:min-keyint=9:bframes=3:scenecut=0:open-gop=1:log-level=none"}),
        ("mkv", "libx264", {"x264-params": "keyint=10:min-keyint=10:intra-refresh=1"}),
    ],
)
def test_codecs_whose_packets_are_not_plain_frames(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / f"v.{suffix}", codec, number=40, options=options, pixel_format=pixel_format)
    check_equal(VideoFrames(str(path)), decoded(path))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_an_open_group_of_pictures_is_begun_one_keyframe_earlier(tmp_path: Path, suffix: str) -> None:
    path = encode(tmp_path / f"v.{suffix}", number=60, options=OPEN_GROUPS)
    frames = VideoFrames(str(path))
    line = frames.timeline
    leading = [
        t for t in range(60) if any(line.places[t] > k and line.times[t] < line.packets[k] for k in line.keyframes)
    ]
    assert len(leading) > 10, "the encoder made no open groups"
    check_equal(frames, decoded(path))


def test_a_variable_frame_rate_gives_each_stored_frame_once(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", options=CLOSED_GROUPS, times=IRREGULAR)
    frames = VideoFrames(str(path))
    check_equal(frames, decoded(path))
    assert frames.frames_per_second() == pytest.approx(29 * 1000 / (IRREGULAR[-1] - IRREGULAR[0]), rel=1e-3)


def test_frames_that_an_edit_list_cuts_off_are_not_counted(tmp_path: Path) -> None:
    """As players and ffmpeg: 4 of the frames that are stored stand before the edit list's beginning."""
    whole = encode(tmp_path / "whole.mp4", options=CLOSED_GROUPS)
    path = remux(whole, tmp_path / "v.mp4", shift=4 * 1024)
    assert b"elst" in path.read_bytes()
    expected = decoded(path)
    assert len(expected) == 26
    assert all(np.array_equal(one, other) for one, other in zip(expected, decoded(whole)[4:], strict=True))
    check_equal(VideoFrames(str(path)), expected)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_frames_are_turned_as_players_show_them(tmp_path: Path, turn: int) -> None:
    path = remux(encode(tmp_path / "stored.mp4", number=12), tmp_path / "v.mp4", turn=turn)
    frames = VideoFrames(str(path))
    check_equal(frames, [np.rot90(frame, turn // 90) for frame in decoded(path)])
    assert frames.size() == ((48, 64) if turn == 180 else (64, 48))


def test_odd_sizes(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", size=(47, 63), pixel_format="yuv444p", number=5)
    frames = VideoFrames(str(path))
    assert frames.size() == (47, 63)
    check_equal(frames, decoded(path))


def test_the_frames_are_those_that_were_encoded(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mkv", "ffv1", number=4, pixel_format="bgr0")
    frames = VideoFrames(str(path))
    assert np.array_equal(np.stack([frames.read(t) for t in range(4)]), pictures(4, 48, 64))


def test_a_clip_decodes_its_part_of_the_video_only(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", number=100, options=CLOSED_GROUPS)
    frames = VideoFrames(str(path))
    assert frames.num_decoded == 0, "indexing decodes nothing"
    frames.size()
    before = frames.num_decoded
    for t in range(73, 78):
        frames.read(t)
    assert frames.num_decoded - before == 8  # from the keyframe 70 on
    for t in range(77, 72, -1):
        frames.read(t)
    assert frames.num_decoded - before == 8, "kept for clips that are played backward"
    for t in range(78, 100):
        frames.read(t)
    assert frames.num_decoded - before == 30, "going on decodes each frame once"


def test_reading_goes_on_after_pickling_closing_and_from_threads(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", number=40, options=CLOSED_GROUPS)
    frames, expected = VideoFrames(str(path)), decoded(path)
    frames.read(20)
    copy = pickle.loads(pickle.dumps(frames))
    assert copy.num_decoded == 0
    assert np.array_equal(copy.timeline.times, frames.timeline.times)
    frames.close()
    wrong: list[int] = []

    def read(seed: int) -> None:
        order = list(range(40))
        random.Random(seed).shuffle(order)
        wrong.extend(t for t in order if not np.array_equal(copy.read(t), expected[t]))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert np.array_equal(frames.read(20), expected[20])


def test_forked_workers_do_not_share_the_place_in_an_open_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mkv", number=200, options=CLOSED_GROUPS, size=(96, 128))
    frames, expected = VideoFrames(str(path)), decoded(path)
    frames.read(100)

    def read(seed: int) -> None:
        order = list(range(200))
        random.Random(seed).shuffle(order)
        assert all(np.array_equal(frames.read(t), expected[t]) for t in order[:40])

    workers = [multiprocessing.get_context("fork").Process(target=read, args=(seed,)) for seed in range(3)]
    for worker in workers:
        worker.start()
    read(9)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0


def test_a_video_without_its_first_keyframe_is_refused(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mkv", options=CLOSED_GROUPS)
    path = remux(whole, tmp_path / "v.mkv", first_packet=3)
    with pytest.raises(DataError, match=r"does not begin with a keyframe, so its first 7 frames .*v\.mkv"):
        VideoFrames(str(path))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "webm"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, part: float) -> None:
    whole = encode(tmp_path / f"whole.{suffix}", "libvpx-vp9" if suffix == "webm" else "libx264", number=20)
    content = whole.read_bytes()
    path = tmp_path / f"v.{suffix}"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError, match=rf"v\.{suffix}"):
        VideoFrames(str(path))


def test_a_truncated_mp4_whose_header_stands_first_is_named(tmp_path: Path) -> None:
    import av

    whole = encode(tmp_path / "whole.mp4")
    with av.open(str(whole)) as source, av.open(str(tmp_path / "v.mp4"), "w", options={"movflags": "faststart"}) as to:
        copy = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                to.mux(packet)
    content = (tmp_path / "v.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    VideoFrames(str(tmp_path / "v.mp4"))
    for length in (len(content) - 1, len(content) * 3 // 4, content.index(b"mdat") + 100):
        (tmp_path / "v.mp4").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"the video is damaged: its last [\d,]+ bytes are missing: .*v\.mp4"):
            VideoFrames(str(tmp_path / "v.mp4"))


@pytest.mark.parametrize("content", [b"", b"text\n" * 99, b"#EXTM3U\nhttp://127.0.0.1:9/a.ts\n", b"\x00" * 5000])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"neither a folder of frames nor a video that can be decoded .*v\.mp4"):
        VideoFrames(str(tmp_path / "v.mp4"))


def test_damage_inside_gives_the_right_frame_or_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", options=CLOSED_GROUPS)
    content = path.read_bytes()
    start = content.index(b"mdat") + len(content) // 3
    path.write_bytes(content[:start] + bytes(1500) + content[start + 1500 :])
    frames = VideoFrames(str(path))
    expected = decoded(encode(tmp_path / "whole.mp4", options=CLOSED_GROUPS))
    problems: dict[int, str] = {}
    for t in range(30):
        try:
            frame = frames.read(t)
        except DataError as error:
            problems[t] = str(error)
        else:
            assert np.array_equal(frame, expected[t])
    assert problems
    assert all(re.match(rf"frame {t} of 30 cannot be decoded .*v\.mp4", text) for t, text in problems.items())
    with pytest.raises(DataError, match=r"frame 30 of 30 cannot be decoded \(it has no such frame\)"):
        frames.read(30)


def test_the_digest_is_that_of_the_file_and_of_what_the_decoder_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "v.mp4")
    copy = shutil.copy(path, tmp_path / "copy.mp4")

    def digest(of: Path) -> str:
        content = VideoContent()
        VideoFrames(str(of)).add_to(content)
        return content.digest()

    before = digest(path)
    assert digest(Path(copy)) == before
    monkeypatch.setattr("sam2_training.data.video_frames._turned", lambda frame, _: frame.to_ndarray(format="bgr24"))
    assert digest(path) != before


def test_a_library_finds_files_folders_lists_and_single_files(tmp_path: Path) -> None:
    videos = tmp_path / "my videos"
    (videos / "folder").mkdir(parents=True)
    encode(videos / "b ü.mp4", number=3)
    shutil.copy(videos / "b ü.mp4", videos / "a10.MOV")
    shutil.copy(videos / "b ü.mp4", videos / "a9.mkv")
    (videos / "notes.txt").write_text("")
    library = FrameLibrary(str(videos))
    assert library.names() == ["a9", "a10", "b ü", "folder"]
    assert library.of_video("a10").location == str(videos / "a10.MOV")
    (tmp_path / "list.txt").write_text("# videos\nmy videos/b ü.mp4\n\n" + str(videos / "a9.mkv") + "\n")
    listed = FrameLibrary(str(tmp_path / "list.txt"))
    assert listed.names() == ["a9", "b ü"]
    assert len(listed.of_video("b ü").files) == 3
    assert FrameLibrary(str(videos / "a9.mkv")).names() == ["a9"]
    (videos / "a9").mkdir()
    with pytest.raises(DataError, match=r"two videos of one name, .*/a9 and .*/a9\.mkv"):
        FrameLibrary(str(videos)).names()
    with pytest.raises(DataError, match=r"two videos of one name, .*/a9 and .*/a9\.mkv"):
        library.of_video("a9")
    (tmp_path / "list.txt").write_text("my videos/notes.doc\n")
    with pytest.raises(DataError, match=r"the list names my videos/notes\.doc, expected video files .*list\.txt"):
        FrameLibrary(str(tmp_path / "list.txt")).names()
