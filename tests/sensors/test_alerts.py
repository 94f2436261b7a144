"""A chat hears of each cause once, and of its end; nobody hears the chat's address."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from resources.settings import Settings
from sensors.alerts import alerts

SECRET = "T0/B0/s3cr3t"
Tick = Callable[..., dg.SensorResult | dg.SkipReason]


class Chat:
    """What was posted, and how the next post is answered."""

    def __init__(self) -> None:
        self.said: list[list[str]] = []
        self.answer = 200
        self.address = ""


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Chat]:
    here = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if here.answer == 200:
                assert [*body] == ["text"]
                here.said.append(body["text"].splitlines())
            self.send_response(here.answer)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here.address = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    monkeypatch.setenv("CHAT", here.address)
    settings.home.mkdir(parents=True)
    (settings.home / "lafid.toml").write_text('[automation]\nalert_url_env = "CHAT"\n')
    yield here
    server.shutdown()
    server.server_close()


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def tick(settings: Settings, instance: dg.DagsterInstance) -> Tick:
    """A tick as the daemon has it: the cursor is kept unless it was skipped, or `dies`."""
    cursors: list[str | None] = [None]

    def go(*, dies: bool = False) -> dg.SensorResult | dg.SkipReason:
        result = alerts(dg.build_sensor_context(instance=instance, cursor=cursors[-1]), settings=settings)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult) and not dies:
            cursors.append(result.cursor)
        return result

    return go


@pytest.fixture
def end(instance: dg.DagsterInstance) -> Callable[..., None]:
    """Ends a run of curate_shard; with `why`, by a failed step."""

    def go(shard: str, why: str = "") -> None:
        def work() -> None:
            if why:
                raise dg.Failure(why)

        @dg.job(name="curate_shard", executor_def=dg.in_process_executor, tags={"dagster/partition": shard})
        def job() -> None:
            dg.op(name="work")(work)()

        job.execute_in_process(instance=instance, raise_on_error=False, run_id=str(uuid.uuid4()))

    return go


def _skipped(result: Any) -> str:
    message = result.skip_message if isinstance(result, dg.SkipReason) else result.skip_reason.skip_message
    assert SECRET not in str(message)
    return str(message)


def test_a_cause_is_told_once_and_its_end(tick: Tick, chat: Chat, end: Callable[..., None]) -> None:
    end("s0", "long ago")
    assert _skipped(tick()) == "what ends from now on is told"
    assert _skipped(tick()) == "no run has ended"
    end("s1", "the disk is full")
    end("s2", "the disk is full")
    end("s3", "no such engine <!channel>")
    tick()
    [[first, second]] = chat.said
    assert first.startswith("Failed: curate_shard s1: the disk is full [run ")
    assert second.startswith("Failed: curate_shard s3: no such engine &lt;!channel&gt; [run ")
    end("s1", "the disk is full")
    end("s1")
    end("s4")
    assert _skipped(tick()) == "0 alerts", "s2 still has no room, and s4 never failed"
    end("s2")
    end("s3", "another cause")
    tick()
    [recovered, failed] = chat.said[-1]
    assert recovered == "Recovered: curate_shard s2 got done (the disk is full)"
    assert failed.startswith("Failed: curate_shard s3: another cause")
    assert len(chat.said) == 2


def test_what_a_tick_that_dies_did_not_tell_is_told_by_the_next(tick: Tick, chat: Chat, end: Callable[..., None]) -> None:
    tick()
    end("s1", "the disk is full")
    chat.answer = 503
    assert _skipped(tick()) == "the webhook answers 503: check CHAT"
    chat.answer = 200
    tick(dies=True)
    tick()
    assert [len(lines) for lines in chat.said] == [1, 1], "twice at most, forgotten never"
    assert _skipped(tick()) == "no run has ended"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"hooks.example/{SECRET}", "the webhook's address is none"),
        (f"http://127.0.0.1:9/{SECRET}", "the webhook does not answer"),
        (f"http://[{SECRET}", "the webhook's address is none"),
        (f"http://127.0.0.1:9/{SECRET} x\n", "the webhook's address is none"),
    ],
)
def test_an_address_that_is_wrong_is_never_shown(
    tick: Tick, chat: Chat, end: Callable[..., None], monkeypatch: pytest.MonkeyPatch, address: str, told: str
) -> None:
    tick()
    end("s1", "the disk is full")
    monkeypatch.setenv("CHAT", address)
    message = _skipped(tick())
    assert message.startswith(told)
    assert message.endswith("check CHAT")


def test_off_by_default_and_without_an_address(tick: Tick, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert alerts.default_status == dg.DefaultSensorStatus.STOPPED
    assert _skipped(tick()) == "no alert_url_env is set in [automation] of lafid.toml"
    settings.home.mkdir(parents=True)
    (settings.home / "lafid.toml").write_text('[automation]\nalert_url_env = "CHAT"\n')
    assert _skipped(tick()) == "the environment variable CHAT is not set: put the webhook's address into it"
