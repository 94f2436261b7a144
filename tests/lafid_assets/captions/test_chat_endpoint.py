"""One question and its answer, against a local endpoint that also misbehaves."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from lafid_assets.captions.answer_cache import AnswerCache
from lafid_assets.captions.chat_endpoint import (
    ChatEndpoint,
    EndpointSettings,
    EndpointUnusable,
    NoAnswer,
    RateLimiter,
    endpoint_of,
)

HELLO = [{"role": "user", "content": "hello"}]
AT_ONCE = {"retry-after-ms": "1"}


def test_the_question_and_its_settings_are_sent(chat_server, chat_endpoint):
    chat_server.script = ["hi"]
    answer = chat_endpoint(seed=3, max_tokens=9).ask("clip", HELLO)
    assert (answer.text, answer.finish_reason, answer.tokens_in, answer.tokens_out) == ("hi", "stop", 100, 20)
    (request,) = chat_server.requests
    sent = {name: request[name] for name in ("model", "messages", "temperature", "seed", "max_tokens")}
    assert sent == {"model": "tiny", "messages": HELLO, "temperature": 0.0, "seed": 3, "max_tokens": 9}
    assert chat_server.headers[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("failure", [(429, {"Retry-After": "1", **AT_ONCE}), (500, AT_ONCE), (503, AT_ONCE), "#drop"])
def test_what_passes_is_tried_again(chat_server, chat_endpoint, failure):
    chat_server.script = [failure, "hi"]
    assert chat_endpoint(max_retries=1).ask("clip", HELLO).text == "hi"
    assert len(chat_server.requests) == 2


def test_a_hang_is_left_and_tried_again(chat_server, chat_endpoint):
    chat_server.script = ["#hang", "hi"]
    assert chat_endpoint(max_retries=1, timeout_s=0.3).ask("clip", HELLO).text == "hi"


@pytest.mark.parametrize(
    ("failure", "tries", "reason"),
    [
        ((429, AT_ONCE), 3, "the endpoint answered 429"),
        ((500, AT_ONCE), 3, "the endpoint answered 500"),
        (401, 1, "the endpoint answered 401"),
        (404, 1, "the endpoint answered 404"),
        ("#garbage", 1, "the endpoint's answer is no chat completion"),
    ],
)
def test_what_stays_broken_is_told(chat_server, chat_endpoint, failure, tries, reason):
    chat_server.script = [failure]
    with pytest.raises(NoAnswer, match=reason):
        chat_endpoint(max_retries=2).ask("clip", HELLO)
    assert len(chat_server.requests) == tries


def test_silence_and_absence_are_told(chat_server, chat_endpoint):
    chat_server.script = ["#hang"]
    with pytest.raises(NoAnswer, match=r"no answer within 0\.3 s"):
        chat_endpoint(timeout_s=0.3).ask("clip", HELLO)
    with pytest.raises(NoAnswer, match="no connection"):
        chat_endpoint(base_url="http://127.0.0.1:9/v1").ask("clip", HELLO)
    chat_server.script = ["#drop"]
    with pytest.raises(NoAnswer, match="no connection"):
        chat_endpoint().ask("clip", HELLO)


def test_a_rerun_never_pays_twice(chat_server, chat_endpoint):
    chat_server.script = ["hi"]
    prices = {"price_in_per_million": 10.0, "price_out_per_million": 100.0}
    first = chat_endpoint(**prices)
    first.ask("clip", HELLO)
    assert first.bill.cost == pytest.approx((100 * 10 + 20 * 100) / 1e6)
    again = chat_endpoint(**prices)
    assert again.ask("clip", HELLO).text == "hi"
    assert (again.bill.answers, again.bill.cached_answers, again.bill.tokens_in, again.bill.cost) == (0, 1, 0, 0)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize("change", [{"model": "other"}, {"temperature": 0.5}, {"seed": 1}, {"max_tokens": 5}])
def test_another_model_or_setting_is_another_question(chat_server, chat_endpoint, change):
    chat_endpoint().ask("clip", HELLO)
    chat_endpoint(**change).ask("clip", HELLO)
    assert len(chat_server.requests) == 2


def test_what_does_not_change_the_answer_does_not_pay_again(chat_server, chat_endpoint):
    chat_endpoint().ask("clip", HELLO)
    chat_endpoint(timeout_s=3.0, concurrency=2, max_retries=1, price_in_per_million=1.0).ask("clip", HELLO)
    assert len(chat_server.requests) == 1


def test_no_answer_is_not_kept(chat_server, chat_endpoint):
    chat_server.script = [500, "hi"]
    with pytest.raises(NoAnswer):
        chat_endpoint().ask("clip", HELLO)
    assert chat_endpoint().ask("clip", HELLO).text == "hi"


def test_after_failures_in_a_row_the_rest_is_not_asked(chat_server, chat_endpoint):
    chat_server.script = [500, "hi", 500]
    endpoint = chat_endpoint(give_up_after=2)
    outcomes = []
    for i in range(6):
        try:
            outcomes.append(endpoint.ask(f"clip {i}", HELLO).text)
        except NoAnswer as error:
            outcomes.append(str(error))
    failed = "the endpoint answered 500"
    given_up = "not asked: the last 2 questions stayed without an answer"
    assert outcomes == [failed, "hi", failed, failed, given_up, given_up]
    assert len(chat_server.requests) == 4
    assert endpoint.bill.unanswered == 5


def test_the_key_is_needed_named_and_never_stored(chat_server, chat_settings, chat_endpoint, tmp_path, monkeypatch):
    chat_endpoint().ask("clip", HELLO)
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "answers").rglob("*") if path.is_file())
    assert "secret" not in chat_settings().model_dump_json()
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EndpointUnusable, match="set OPENAI_API_KEY"):
        chat_endpoint()
    monkeypatch.setenv("OUR_KEY", "other")
    ChatEndpoint(chat_settings(api_key_env="OUR_KEY"), AnswerCache(tmp_path / "fresh")).ask("clip", HELLO)
    assert chat_server.headers[-1]["Authorization"] == "Bearer other"


def test_retries_pass_the_rate_limit_too(chat_server, chat_endpoint, monkeypatch):
    waits = []
    endpoint = chat_endpoint(max_retries=2)
    monkeypatch.setattr(endpoint._limiter, "wait", lambda: waits.append(1))
    chat_server.script = [(500, AT_ONCE), (500, AT_ONCE), "hi"]
    endpoint.ask("clip", HELLO)
    assert len(waits) == 3


def test_calls_go_through_at_even_distances():
    clock = [100.0]
    slept = []
    limiter = RateLimiter(30, clock=lambda: clock[0], sleep=slept.append)
    for _ in range(3):
        limiter.wait()
    assert slept == [2.0, 4.0]  # the clock stands: each waits its turn
    clock[0] = 200.0
    limiter.wait()
    assert slept == [2.0, 4.0]


def test_many_threads_share_one_endpoint(chat_server, chat_endpoint):
    chat_server.script = [lambda body: body["messages"][0]["content"].upper()]
    endpoint = chat_endpoint()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: endpoint.ask(f"{i}", [{"role": "user", "content": f"q{i}"}]).text, range(20)))
    assert answers == [f"Q{i}" for i in range(20)]
    assert endpoint.bill.answers == 20


def test_the_bill_says_when_no_price_is_known(chat_endpoint):
    assert chat_endpoint().bill.as_metadata("llm")["llm_cost"] == "no price is configured"


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValidationError):
        EndpointSettings(base_url="x", model="y", api_key="secret")


def test_endpoint_as_it_is_named_on_a_command_line() -> None:
    endpoint = endpoint_of("https://host/a,b/v1,org/a-model")
    assert (endpoint.base_url, endpoint.model) == ("https://host/a,b/v1", "org/a-model")
    for address in ("a-model", "https://host/v1", "https://host/v1,", "host/v1,a-model"):
        with pytest.raises(EndpointUnusable, match="names no endpoint: give URL,MODEL"):
            endpoint_of(address)
