"""The model words the caption where its answer holds; else the rules do, and the row says why."""

import json

import pytest

from lafid_assets.captions.caption_validation import RewriteLimits
from lafid_assets.captions.llm_rewriter import RewriteTask, question, rewrite, rewrite_all
from lafid_assets.captions.speech_caption import refine_caption
from lafid_assets.speech.speaking_status import SpeakingStatus

CAPTION = "A woman in a green coat stands by two lamps and is silent."
KEPT = "A woman in a green coat stands by two lamps."
SENTENCE = "She speaks quietly to the camera."


@pytest.fixture
def task():
    def make(clip_id="clip", **changes):
        status = SpeakingStatus.ON_SCREEN
        values = {
            "caption": CAPTION,
            "status": status,
            "lips_move": False,
            "rules": refine_caption(CAPTION, status),
            "transcript": "hello there",
            "language": "English",
        }
        return RewriteTask(clip_id, **(values | changes))

    return make


def reply(caption=f"{KEPT} {SENTENCE}", sentence=SENTENCE):
    return json.dumps({"caption": caption, "speaking_sentence": sentence})


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", " \n{}\n"])
def test_an_answer_that_holds_is_taken(chat_server, chat_endpoint, task, form):
    chat_server.script = [form.replace("{}", reply())]
    refined, reason = rewrite(task(), chat_endpoint(), RewriteLimits())
    assert (refined.text, refined.sentence, refined.rewriter) == (f"{KEPT} {SENTENCE}", SENTENCE, "llm: tiny")
    assert refined.removed == task().rules.removed != []
    assert reason == "answer accepted"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "answer refused: not the JSON that was asked for"),
        ("Sure! " + KEPT, "answer refused: not the JSON that was asked for"),
        ('{"caption": 3}', "answer refused: not the JSON that was asked for"),
        (reply("", ""), "answer refused: empty"),
        (reply(f"{KEPT} {SENTENCE}".replace("green", "red")), "answer refused: facts_changed: colours"),
        (
            reply(f"{KEPT} A tall dog barks in the deep snow. {SENTENCE}"),
            "answer refused: facts_added: barks, deep, dog, snow, tall",
        ),
        (reply(f"{CAPTION} {SENTENCE}"), "answer refused: contradiction"),
        (reply(f"{KEPT} {SENTENCE} {'Really. ' * 80}"), "answer refused: too_long"),
        ({"content": reply(), "finish_reason": "length"}, "answer refused: cut off at max_tokens"),
        ({"content": None}, "answer refused: not the JSON that was asked for"),
        ("#garbage", "no answer: the endpoint's answer is no chat completion"),
        ("#drop", "no answer: no connection"),
        (500, "no answer: the endpoint answered 500"),
        (429, "no answer: the endpoint answered 429"),
        ("#hang", "no answer: no answer within"),
    ],
)
def test_what_fails_falls_back_to_the_rules_with_a_reason(chat_server, chat_endpoint, task, answer, reason):
    chat_server.script = [answer]
    timeout_s = 0.3 if answer == "#hang" else 5.0
    refined, why = rewrite(task(), chat_endpoint(timeout_s=timeout_s), RewriteLimits())
    assert refined == task().rules
    assert why.startswith(reason)


def test_a_refused_answer_is_paid_once_and_refused_again(chat_server, chat_endpoint, task):
    chat_server.script = ["nonsense"]
    reasons = {rewrite(task(), chat_endpoint(), RewriteLimits())[1] for _ in range(2)}
    assert len(reasons) == len(chat_server.requests) == 1


def test_the_question_holds_what_is_known_and_no_more(task):
    told = json.loads(question(task(transcript="x" * 2000, language=None))[1]["content"])
    assert told.keys() == {"caption", "draft", "status", "lips_move", "transcript"}
    assert (told["caption"], told["status"], len(told["transcript"])) == (CAPTION, "on_screen", 600)


def test_answers_come_back_in_order_and_few_at_a_time(chat_server, chat_endpoint, task):
    chat_server.script = [lambda body: reply() if "hello 3" in body["messages"][1]["content"] else "nonsense"]
    tasks = [task(f"clip {i}", transcript=f"hello {i}") for i in range(8)]
    answers = rewrite_all(tasks, chat_endpoint(concurrency=2), RewriteLimits())
    assert [reason == "answer accepted" for _, reason in answers] == [i == 3 for i in range(8)]
    assert chat_server.most_at_once <= 2
