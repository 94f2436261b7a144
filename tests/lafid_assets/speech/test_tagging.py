"""The rows of `speech_tagged_clips`: every clip one, what is not believed beside what is, every caption with its origin."""

import json

import polars as pl
import pytest

from lafid_assets.captions.frame_captions import FrameCaption
from lafid_assets.schemas import SPEECH_INFO, SPEECH_TAGGED_CLIPS
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.speech.tagging import tag_clips, without_caption
from lafid_assets.speech.transcript_gates import TranscriptGates

SPEAKING = {
    "has_audio": True,
    "voice_spans": [{"start_s": 0.0, "end_s": 3.0}],
    "face_share": 1.0,
    "several_faces_share": 0.0,
    "mouth_model": "dlib",
    "mouth_range": 0.08,
    "lip_audio_z": 4.0,
    "mouth_measurable_share": 1.0,
    "mouth_yaw_abs_median_deg": 5.0,
    "status": "ok",
}
CAPTION = "A man in a blue coat is silent."


def segment(text, start_s=0.0, **changes):
    scores = {"language": "fr", "avg_logprob": -0.2, "no_speech_prob": 0.1}
    return {"start_s": start_s, "end_s": start_s + 2.0, "text": text} | scores | changes


@pytest.fixture
def tag(row_of):
    def _tag(clips, captions, window_s=(None, None), **arguments):
        rows = [row_of(SPEECH_INFO, clip_id=clip, **values) for clip, values in clips.items()]
        texts = pl.DataFrame(
            {"clip_id": list(captions), "caption": list(captions.values()), "caption_fault": None},
            schema_overrides={"caption": pl.String, "caption_fault": pl.String},
        ).with_columns(window_start_s=pl.lit(window_s[0], pl.Float64), window_end_s=pl.lit(window_s[1], pl.Float64))
        frame = tag_clips(SPEECH_INFO.frame(rows), texts, SpeechPolicy(), TranscriptGates(), **arguments)
        assert SPEECH_TAGGED_CLIPS.violations(frame) == []
        return {row["clip_id"]: row for row in frame.to_dicts()}

    return _tag


def test_measured_clips_are_decided_and_the_others_skipped(tag):
    rows = tag(
        {"a": SPEAKING, "b": {"status": "error", "reason": "audio_unreadable"}},
        {"a": CAPTION, "b": CAPTION},
    )
    assert rows["a"]["refined_caption"] == "A man in a blue coat is shown. The person on screen is speaking."
    assert (rows["a"]["source_caption"], rows["a"]["caption_source"], rows["a"]["caption_reason"]) == (CAPTION, "released", None)
    assert (rows["a"]["rewriter"], rows["a"]["rewriter_reason"]) == ("rules-4", "no language model is configured")
    assert (rows["b"]["status"], rows["b"]["detail"]) == ("skipped", "speech_info: audio_unreadable")


def test_dropped_segments_are_kept_with_the_reason(tag):
    segments = [segment("Bonjour a tous."), segment("Thanks for watching!", 2.0), segment("Hm.", 4.0, avg_logprob=-3.0)]
    rows = tag({"a": SPEAKING | {"segments": segments}, "b": SPEAKING}, {"a": CAPTION, "b": CAPTION})
    assert (rows["a"]["transcript"], rows["a"]["transcript_language"]) == ("Bonjour a tous.", "fr")
    assert [(one["start_s"], one["text"], one["reason"]) for one in rows["a"]["dropped_segments"]] == [
        (2.0, "Thanks for watching!", "stock_phrase"),
        (4.0, "Hm.", "improbable"),
    ]
    assert rows["a"]["speaking_sentence"] == "The person on screen is speaking French."
    assert (rows["b"]["transcript"], rows["b"]["dropped_segments"]) == (None, None)


def test_the_caption_tells_of_the_window(tag):
    """A narrator before it, and what is said there, are no part of what is trained on."""
    looks = {"mouth_times_s": [0.5, 1.0], "mouth_openings": [0.1, 0.2], "mouth_yaw_deg": [0.0, 0.0], "mouth_runs": [1, 1]}
    looks |= {"searched_times_s": [0.5], "face_counts": [1], "sound_energy": [0.0, 1.0]}
    clip = SPEAKING | looks | {"segments": [segment("Bonjour a tous."), segment("Et voila.", 2.5)]}
    whole, after = (tag({"a": clip}, {"a": CAPTION}, window_s=window)["a"] for window in ((None, None), (3.0, 8.0)))
    assert (whole["speaking_status"], whole["transcript"]) == ("on_screen", "Bonjour a tous. Et voila.")
    assert (after["speaking_status"], after["transcript"]) == ("silent", "Et voila.")
    assert after["refined_caption"] == "A man in a blue coat is silent. No voice is heard."


def test_clips_without_a_caption_take_one_from_frames(tag):
    described = {"a": FrameCaption("A woman stands by a red door.", "answer accepted"), "b": FrameCaption(None, "no answer: x")}
    rows = tag({clip: SPEAKING for clip in "abc"}, {"a": None, "b": " ", "c": CAPTION}, described=described, described_by="qwen")
    assert (rows["a"]["source_caption"], rows["a"]["caption_source"]) == ("A woman stands by a red door.", "frames: qwen")
    assert rows["a"]["refined_caption"] == "A woman stands by a red door. The person on screen is speaking."
    assert rows["a"]["caption_reason"] == "no caption was released; answer accepted"
    assert (rows["b"]["source_caption"], rows["b"]["caption_source"]) == (None, "none")
    assert rows["b"]["caption_reason"] == "no caption was released; no answer: x"
    assert rows["c"]["caption_source"] == "released"


def test_the_model_is_asked_where_there_is_something_to_say(tag, chat_server, chat_endpoint):
    sentence = "He speaks calmly."
    chat_server.script = [json.dumps({"caption": f"A man in a blue coat. {sentence}", "speaking_sentence": sentence})]
    undecidable = SPEAKING | {"mouth_yaw_abs_median_deg": 80.0}
    rows = tag(
        {"a": SPEAKING, "b": undecidable, "c": SPEAKING, "d": {"status": "timeout", "reason": "deadline"}},
        {"a": CAPTION, "b": CAPTION, "c": None, "d": CAPTION},
        endpoint=chat_endpoint(),
    )
    assert (rows["a"]["rewriter"], rows["a"]["rewriter_reason"]) == ("llm: tiny", "answer accepted")
    assert (rows["a"]["refined_caption"], rows["a"]["source_caption"]) == ("A man in a blue coat. He speaks calmly.", CAPTION)
    assert rows["a"]["removed_sentences"] == ["is silent"]
    assert rows["b"]["rewriter_reason"] == "undecidable: nothing to say about speech"
    assert rows["c"]["rewriter_reason"] == "nothing but the speaking sentence to refine"
    assert rows["b"]["rewriter"] == rows["c"]["rewriter"] == "rules-4"
    assert len(chat_server.requests) == 1


def test_blank_captions_count_as_none():
    captions = pl.DataFrame({"clip_id": ["a", "b", "c"], "caption": [None, "  ", "x"]})
    assert without_caption(captions)["clip_id"].to_list() == ["a", "b"]
