"""The asset: rules by default and nothing sent; with an endpoint, only what stayed without an answer is asked again."""

import json

import dagster as dg
import pytest

from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas import RAW_CLIPS, SPEECH_INFO, SPEECH_TAGGED_CLIPS
from lafid_assets.speech.speech_tagged_clips import SpeechTaggedClipsConfig, captions_at_stake, speech_tagged_clips

SHARD = "shard-00000"
CAPTION = "A man in a blue coat smiles."
SENTENCE = "He speaks calmly."
SPEAKING = {
    "has_audio": True,
    "voice_spans": [{"start_s": 0.0, "end_s": 3.0}],
    "face_share": 1.0,
    "several_faces_share": 0.0,
    "mouth_range": 0.08,
    "mouth_measurable_share": 1.0,
    "status": "ok",
}


@pytest.fixture
def run(tmp_path, monkeypatch, store, warehouse, row_of, write_video):
    """Materialize the asset over two clips, the second without a caption: its metadata and its rows by clip id."""
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "home"))
    write_video(tmp_path / "clip.mp4")
    clips = {"aa": CAPTION, "bb": None}
    file = {"clip_root": str(tmp_path), "path": "clip.mp4", "duration_s": 1.0, "status": "ok", "shard": SHARD}
    raw = RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip, caption=caption, **file) for clip, caption in clips.items())
    info = SPEECH_INFO.frame(row_of(SPEECH_INFO, clip_id=clip, shard=SHARD, **SPEAKING) for clip in clips)
    store.write_group({RAW_CLIPS.name: raw}, SHARD, "f")
    store.write_group({SPEECH_INFO.name: info}, SHARD, "f")
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])

    def materialize(**config):
        result = dg.materialize(
            [speech_tagged_clips],
            instance=instance,
            partition_key=SHARD,
            resources={"store": store, "warehouse": warehouse},
            run_config={"ops": {"speech_tagged_clips": {"config": config}}},
        )
        (event,) = result.asset_materializations_for_node("speech_tagged_clips")
        rows = store.read_table(SPEECH_TAGGED_CLIPS.name, SHARD).to_dicts()
        return {name: value.value for name, value in event.metadata.items()}, {row["clip_id"]: row for row in rows}

    return materialize


@pytest.fixture
def llm(chat_settings):
    return chat_settings(price_in_per_million=10.0, price_out_per_million=100.0).model_dump()


def test_by_default_rules_write_and_nothing_is_sent(run, chat_server):
    metadata, rows = run()
    assert rows["aa"]["refined_caption"] == f"{CAPTION} The person on screen is speaking."
    assert {row["rewriter_reason"] for row in rows.values()} == {"no language model is configured"}
    assert (rows["bb"]["caption_source"], rows["bb"]["caption_reason"]) == ("none", "no caption was released")
    assert chat_server.requests == []
    assert not any("llm" in name for name in metadata)


def test_the_answer_is_taken_and_its_cost_shown_once(run, chat_server, llm):
    chat_server.script = [json.dumps({"caption": f"{CAPTION} {SENTENCE}", "speaking_sentence": SENTENCE})]
    metadata, rows = run(caption_llm=llm)
    assert (rows["aa"]["refined_caption"], rows["aa"]["source_caption"]) == (f"{CAPTION} {SENTENCE}", CAPTION)
    assert (metadata["caption_llm_answers"], metadata["caption_llm_tokens_in"]) == (1, 100)
    assert metadata["caption_llm_cost"] == pytest.approx(0.003)
    assert run(caption_llm=llm)[0]["computed"] is False
    metadata, rows = run(caption_llm=llm, name="other")
    assert (metadata["computed"], metadata["caption_llm_cached_answers"], metadata["caption_llm_cost"]) == (True, 1, 0.0)
    assert len(chat_server.requests) == 1


def test_what_a_run_without_the_model_would_rewrite_is_said_and_its_answers_stay(run, store, chat_server, llm):
    chat_server.script = [json.dumps({"caption": f"{CAPTION} {SENTENCE}", "speaking_sentence": SENTENCE})]
    assert captions_at_stake(store, [SHARD]) == ""
    run(caption_llm=llm)
    told = captions_at_stake(store, [SHARD])
    assert told.startswith(f"1 captions were written by llm: {llm['model']} and no language model is named now: rules write them")
    assert captions_at_stake(store, ["another-shard"]) == ""
    assert run()[1]["aa"]["rewriter"].startswith("rules")
    assert captions_at_stake(store, [SHARD]) == ""
    metadata, rows = run(caption_llm=llm)
    assert rows["aa"]["refined_caption"] == f"{CAPTION} {SENTENCE}"
    assert (metadata["caption_llm_cached_answers"], len(chat_server.requests)) == (1, 1)


def test_only_what_stayed_without_an_answer_is_asked_again(run, chat_server, llm):
    chat_server.script = [500, json.dumps({"caption": f"{CAPTION} {SENTENCE}", "speaking_sentence": SENTENCE})]
    _, rows = run(caption_llm=llm)
    assert rows["aa"]["rewriter_reason"] == "no answer: the endpoint answered 500"
    assert rows["aa"]["refined_caption"] == f"{CAPTION} The person on screen is speaking."
    metadata, rows = run(caption_llm=llm)
    assert (metadata["computed"], rows["aa"]["rewriter"]) == (True, "llm: tiny")
    assert run(caption_llm=llm)[0]["computed"] is False


def test_a_caption_is_written_from_frames_where_there_is_none(run, chat_server, chat_settings):
    text = "A grey wall fills the picture, and grows brighter from frame to frame."
    chat_server.script = [text]
    metadata, rows = run(caption_frames_model=chat_settings().model_dump() | {"frames": 2})
    assert (rows["bb"]["source_caption"], rows["bb"]["caption_source"]) == (text, "frames: tiny")
    assert rows["bb"]["refined_caption"] == f"{text} The person on screen is speaking."
    assert rows["aa"]["caption_source"] == "released"
    assert metadata["caption_frames_model_answers"] == len(chat_server.requests) == 1


def test_the_config_says_what_leaves_the_machine():
    fields = SpeechTaggedClipsConfig.model_fields
    assert "frames that show persons leave this machine" in fields["caption_frames_model"].description
    assert "captions and transcripts are sent" in fields["caption_llm"].description
