"""The asset: rules by default and nothing sent; with an endpoint, only what stayed without an answer is asked again."""

import json

import dagster as dg
import polars as pl
import pytest

from lafid_assets.policy_settings import all_settings
from lafid_assets.schemas import CLIP_CONTENTS, CLIP_FILES, CLIP_ROOTS, CLIP_ROWS, RAW_CLIPS, SPEECH_INFO, SPEECH_TAGGED_CLIPS
from lafid_assets.speech.speech_tagged_clips import (
    SpeechTaggedClipsConfig,
    captions_at_stake,
    claimed_alone,
    speech_tagged_clips,
)
from lafid_assets.speech.tagging import read_settings
from lafid_assets.steps.partitions import CLIP_SHARDS

SHARD = "shard-00000"
CAPTION = "A man in a blue coat smiles."
SENTENCE = "He speaks calmly."
SPEAKING = {
    "has_audio": True,
    "voice_spans": [{"start_s": 0.0, "end_s": 3.0}],
    "face_share": 1.0,
    "several_faces_share": 0.0,
    "mouth_model": "dlib",
    "mouth_range": 0.08,
    "lip_audio_z": 4.0,
    "mouth_measurable_share": 1.0,
    "status": "ok",
}


@pytest.fixture
def run(tmp_path, settings, lake, row_of, write_video, lay_clips):
    """Materialize the asset over two clips, the second without a caption: its metadata and its rows by clip id."""
    write_video(tmp_path / "clip.mp4")
    clips = {"aa": CAPTION, "bb": None}
    file = {"clip_root": str(tmp_path), "duration_s": 1.0, "status": "ok", "shard": SHARD, "content_sha256": "c"}
    for clip in clips:
        (tmp_path / clip).write_bytes((tmp_path / "clip.mp4").read_bytes())
    raw = RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip, path=clip, caption=caption, **file) for clip, caption in clips.items())
    info = SPEECH_INFO.frame(row_of(SPEECH_INFO, clip_id=clip, shard=SHARD, **SPEAKING) for clip in clips)
    lay_clips(lake, raw, SHARD)
    lake.put({SPEECH_INFO.name: info}, SHARD, "f")
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])

    def materialize(**config):
        result = dg.materialize(
            [speech_tagged_clips],
            instance=instance,
            partition_key=SHARD,
            resources={"lake": lake, "settings": settings},
            run_config={"ops": {"speech_tagged_clips": {"config": config}}},
        )
        (event,) = result.asset_materializations_for_node("speech_tagged_clips")
        rows = lake.read(SPEECH_TAGGED_CLIPS.name, SHARD).to_dicts()
        return {name: value.value for name, value in event.metadata.items()}, {row["clip_id"]: row for row in rows}

    return materialize


@pytest.fixture
def on_disk(settings, monkeypatch):
    """The home's Dagster keeps the runs; the home."""
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        monkeypatch.setattr(dg.DagsterInstance, "ephemeral", lambda: instance)
        yield settings.home


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


def test_what_a_run_without_the_model_would_rewrite_is_said_and_its_answers_stay(run, lake, chat_server, llm):
    chat_server.script = [json.dumps({"caption": f"{CAPTION} {SENTENCE}", "speaking_sentence": SENTENCE})]
    assert captions_at_stake(lake, [SHARD]) == ""
    run(caption_llm=llm)
    told = captions_at_stake(lake, [SHARD])
    assert told.startswith(f"1 captions were written by llm: {llm['model']} and no language model is named now: rules write them")
    assert captions_at_stake(lake, ["another-shard"]) == ""
    assert run()[1]["aa"]["rewriter"].startswith("rules")
    assert captions_at_stake(lake, [SHARD]) == ""
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


def _copy_in(lake, tmp_path, row_of, caption, shard):
    """A copy of the first clip in a folder that is seen later, with its own caption, held by `shard`."""
    place = {"shard": shard, "clip_root": str(tmp_path / "copy"), "path": "aa"}
    seen = [*lake.read("clip_roots").rows(), (place["clip_root"], "2027")]
    lake.put({"clip_roots": CLIP_ROOTS.frame(pl.DataFrame(seen, schema=CLIP_ROOTS.dtypes, orient="row"))})
    frames = {
        "clip_files": CLIP_FILES.frame([row_of(CLIP_FILES, **place)]),
        "clip_rows": CLIP_ROWS.frame([row_of(CLIP_ROWS, **place, caption=caption)]),
        "clip_contents": CLIP_CONTENTS.frame([row_of(CLIP_CONTENTS, **place, clip_id="aa", clip_shard=SHARD)]),
    }
    if shard == SHARD:
        frames = {name: pl.concat([lake.read(name, shard), frame]) for name, frame in frames.items()}
    lake.put(frames, shard)


@pytest.mark.parametrize("shard", [SHARD, "shard-00001"])
@pytest.mark.parametrize("caption", ["Another man.", " ", "\u00a0\u2003\x0b", None])
def test_another_caption_words_its_shard_anew_once(run, lake, tmp_path, row_of, caption, shard):
    """Whatever file it comes with, and whatever shard holds that: captions are no part of a clip's content."""
    run()
    _copy_in(lake, tmp_path, row_of, caption, shard)
    metadata, rows = run()
    assert metadata["computed"]
    assert rows["aa"]["source_caption"] == ("Another man." if caption == "Another man." else None)
    assert not run()[0]["computed"]


def test_the_captions_of_a_shard_word_it_anew(run, lake):
    run()
    retold = lake.read("clip_rows", SHARD).with_columns(caption=pl.lit("Another man."))
    lake.put({"clip_rows": retold}, SHARD)
    assert {row["source_caption"] for row in run()[1].values()} == {"Another man."}
    assert not run()[0]["computed"]


def test_a_copy_with_the_same_caption_changes_nothing(run, lake, tmp_path, row_of):
    run()
    _copy_in(lake, tmp_path, row_of, CAPTION, "shard-00001")
    assert not run()[0]["computed"]


def test_a_clip_whose_file_is_away_is_described_another_time(run, chat_server, chat_settings, tmp_path):
    text = "A grey wall fills the picture, and grows brighter from frame to frame."
    chat_server.script = [text]
    model = chat_settings().model_dump() | {"frames": 2}
    (tmp_path / "bb").rename(tmp_path / "away")
    assert run(caption_frames_model=model)[1]["bb"]["caption_reason"] == "no caption was released; no answer: its file is away"
    (tmp_path / "away").rename(tmp_path / "bb")
    assert run(caption_frames_model=model)[1]["bb"]["source_caption"] == text
    assert not run(caption_frames_model=model)[0]["computed"]


def test_the_settings_are_written_once_and_rows_name_them(run, lake):
    _, rows = run(min_voice_s=0.7)
    [sha256] = {row["policy_sha256"] for row in rows.values()}
    assert read_settings(all_settings(lake)[sha256]).min_voice_s == 0.7


def test_the_config_says_what_leaves_the_machine():
    fields = SpeechTaggedClipsConfig.model_fields
    assert "frames that show persons leave this machine" in fields["caption_frames_model"].description
    assert "captions and transcripts are sent" in fields["caption_llm"].description


def test_a_shot_claims_nothing_of_the_caption_of_its_whole_recording():
    """Of the three, only a whole file keeps what was said of the file; why, is told where something was said."""
    clips = pl.DataFrame({"clip_id": ["whole", "shot", "bare"], "recording_id": [None, "r", "r"], "caption": ["a", "b", None]})
    claimed = claimed_alone(clips)
    assert claimed["caption"].to_list() == ["a", None, None]
    assert [fault is None for fault in claimed["caption_fault"]] == [True, False, True]


@pytest.mark.parametrize(("key", "answer"), [("planted-key", "no chat completion"), ("planted-key", 401), ("planted-key\n", 200)])
def test_the_key_is_nowhere_in_the_home(on_disk, run, chat_server, chat_settings, monkeypatch, capfd, key, answer):
    """The endpoint answers, refuses the key, or is never asked, for no header may hold such a key."""
    monkeypatch.setenv("LAFID_TEST_KEY", key)
    chat_server.script = [answer]
    run(caption_llm=chat_settings(api_key_env="LAFID_TEST_KEY").model_dump())
    kept = [path for path in on_disk.rglob("*") if path.is_file()]
    assert any(b"LAFID_TEST_KEY" in path.read_bytes() for path in kept), "the run's config is among them"
    assert [path for path in kept if b"planted" in path.read_bytes()] == []
    assert "planted" not in "".join(capfd.readouterr())
