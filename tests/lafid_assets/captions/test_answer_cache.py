"""Answers are kept whole, told apart, and forgotten with their clip."""

from lafid_assets.captions.answer_cache import Answer, AnswerCache

ANSWER = Answer("a caption \u00e9", "stop", 10, 5)


def test_an_answer_comes_back_as_it_was(tmp_path):
    cache = AnswerCache(tmp_path)
    assert cache.get("clip", "key") is None
    cache.put("clip", "key", ANSWER)
    assert AnswerCache(tmp_path).get("clip", "key") == ANSWER
    assert cache.get("clip", "other") is None
    assert cache.get("other", "key") is None


def test_forgotten_clips_leave_nothing(tmp_path):
    cache = AnswerCache(tmp_path)
    for clip in ("one", "two"):
        cache.put(clip, "key", ANSWER)
    assert cache.forget(["one", "never seen"]) == 1
    assert cache.get("one", "key") is None
    assert cache.get("two", "key") == ANSWER
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_an_id_never_leads_out_of_the_folder(tmp_path):
    cache = AnswerCache(tmp_path / "answers")
    cache.put("../../outside", "key", ANSWER)
    (kept,) = (path for path in (tmp_path / "answers").rglob("*") if path.is_file())
    assert kept.resolve().is_relative_to(tmp_path / "answers")
