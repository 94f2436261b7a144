"""Few small JPEGs of the right frames go to the model, and only a description comes back as a caption."""

import base64
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.captions.answer_cache import AnswerCache
from lafid_assets.captions.chat_endpoint import ChatEndpoint
from lafid_assets.captions.frame_captions import FrameCaptionSettings, FrameTask, describe, describe_all, encode_frames, question
from lafid_assets.outcomes import ClipError

TEXT = "A grey wall fills the picture. It grows brighter from frame to frame, and nothing else moves."


def greys(jpegs):
    return [float(np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).mean()) for jpeg in jpegs]


def test_frames_are_spread_and_scaled_down(tmp_path, write_video):
    write_video(tmp_path / "clip.mp4", seconds=2.0)  # frame n is grey with the value 8 n
    jpegs = encode_frames(FrameTask("clip", tmp_path / "clip.mp4", 2.0, 4, 32))
    assert np.allclose(np.diff(greys(jpegs)), 40, atol=10)  # five frames of 0.1 s apart
    assert {Image.open(io.BytesIO(jpeg)).size for jpeg in jpegs} == {(32, 24)}


def test_a_missing_or_broken_file_is_a_clip_error(tmp_path):
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    for name in ("torn.mp4", "lost.mp4"):
        with pytest.raises(ClipError):
            encode_frames(FrameTask("clip", tmp_path / name, 2.0, 4, 32))


def test_the_question_carries_the_frames_as_they_are():
    (message,) = question([b"one", b"two"])
    text, *frames = message["content"]
    assert text["type"] == "text"
    urls = [frame["image_url"]["url"] for frame in frames]
    assert [base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("answer", "text", "reason"),
    [
        (TEXT, TEXT, "answer accepted"),
        (f"  {TEXT}\n", TEXT, "answer accepted"),
        ("", None, "answer refused: 0 characters"),
        ("word " * 1000, None, "answer refused: 4999 characters"),
        ("I'm sorry, but I cannot describe people in these pictures.", None, "answer refused: the model declined"),
        ({"content": TEXT, "finish_reason": "length"}, None, "answer refused: cut off at max_tokens"),
        (500, None, "no answer: the endpoint answered 500"),
    ],
)
def test_only_a_description_becomes_a_caption(chat_server, chat_endpoint, answer, text, reason):
    chat_server.script = [answer]
    caption = describe("clip", [b"jpeg"], chat_endpoint())
    assert (caption.text, caption.reason) == (text, reason)


def test_clips_of_a_table_are_described_and_faults_stay_with_their_clip(tmp_path, write_video, chat_server, chat_settings):
    write_video(tmp_path / "good.mp4")
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    settings = FrameCaptionSettings(**chat_settings().model_dump(), frames=2)
    clips = pl.DataFrame({"clip_id": ["good", "torn", "unknown", "away"], "duration_s": [1.0, 1.0, None, 1.0]})
    paths = {"good": tmp_path / "good.mp4", "torn": tmp_path / "torn.mp4", "unknown": tmp_path / "good.mp4"}
    chat_server.script = [TEXT]
    captions = describe_all(clips, paths, settings, ChatEndpoint(settings, AnswerCache(tmp_path / "answers")))
    assert {clip: (one.text, one.reason) for clip, one in captions.items()} == {
        "good": (TEXT, "answer accepted"),
        "torn": (None, "no frame could be decoded"),
        "unknown": (None, "no frame could be decoded"),
        "away": (None, "no answer: its file is away"),
    }
    (request,) = chat_server.requests
    assert len(request["messages"][0]["content"]) == 3
