"""`lafid serve` around a stand-in model, over real sockets: answers, refusals, a full queue, an end, health while it draws."""

import base64
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from lafid_assets.cli import serve
from model.release import service as service_module
from model.release.service import ServiceLimits, VideoService

LIMITS = ServiceLimits(queue=1, timeout_s=4)


class StandIn:
    """Draws the seed's grey; a step takes 10 ms."""

    fps = 8.0

    def generate(self, _image: Image.Image | None, _prompt: str, **request: Any) -> np.ndarray:
        for step in range(request["steps"]):
            time.sleep(0.01)
            request["on_step"](step + 1, request["steps"])
        return np.full((2, 16, 16, 3), request["seed"], np.uint8)


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def draw(self, **fields: object) -> tuple[int, dict[str, Any]]:
        request = {"image": PICTURE, "prompt": "x", "steps": 1} | fields
        return self.ask("POST", "/invocations", json.dumps({"inputs": [request]}).encode())


def _picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = _picture()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        application = serve.application(VideoService(StandIn(), LIMITS))  # type: ignore[arg-type]
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Client(listening.getsockname()[1])
        server.should_exit = True
        thread.join()


def test_it_draws_as_mlflows_server_does(client: Client) -> None:
    status, told = client.draw(seed=7)
    assert status == 200
    (answer,) = told["predictions"]
    assert answer["frames"] == 2
    assert answer["fps"] == 8.0
    assert b"ftyp" in base64.b64decode(answer["video"])[:16]
    assert client.draw(seed=7)[1] == told
    assert client.draw(seed=8)[1]["predictions"][0]["frames_sha256"] != answer["frames_sha256"]


WRONG: dict[str, tuple[bytes, str]] = {
    "no JSON": (b'{"inputs": [{"image": "SECRET', "the body is no JSON"),
    "brackets": (b"[" * 100_000, "the body is no JSON"),
    "no requests": (b'{"instances": ["SECRET"]}', "the body has no list of requests"),
    "a word": (b'{"inputs": ["SECRET"]}', "request 0: Input should be a valid dictionary"),
    "none": (b'{"inputs": []}', "a call asks for 1 to 8 videos"),
    "no steps": (b'{"inputs": [{"prompt": "SECRET", "steps": 0}]}', "request 0: steps: "),
    "NaN": (b'{"inputs": [{"prompt": "SECRET", "guidance": NaN}]}', "request 0: guidance: "),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_told_in_a_line_that_repeats_nothing(client: Client, fault: str) -> None:
    body, words = WRONG[fault]
    status, told = client.ask("POST", "/invocations", body)
    assert status == 400
    assert told["message"].startswith(words)
    assert "SECRET" not in json.dumps(told)


def test_a_body_that_is_too_large_is_not_read_to_its_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "MOST_BODY_BYTES", 1 << 20)
    status, told = client.ask("POST", "/invocations", b" " * (2 << 20))
    assert (status, told["message"]) == (400, "the request has more than 1 MB: give fewer or smaller pictures")


def test_it_is_healthy_while_it_draws_and_tells_one_too_many_to_come_again(client: Client) -> None:
    with ThreadPoolExecutor(2) as pool:
        drawn = [pool.submit(client.draw, seed=seed, steps=60) for seed in (1, 2)]
        _until(lambda: client.ask("GET", "/health")[1]["at_work"] == 2)
        status, told = client.draw()
        assert (status, told["error_code"]) == (429, 429)
        assert "ask again later" in told["message"]
        assert client.ask("GET", "/ping")[0] == 200
        assert [future.result()[0] for future in drawn] == [200, 200]
    assert client.ask("GET", "/health") == (200, {"at_work": 0, "queue": 1, "timeout_s": 4.0})


def test_one_that_takes_too_long_ends_and_the_next_is_drawn(client: Client) -> None:
    status, told = client.draw(steps=1000)
    assert status == 504
    assert told["message"].startswith("the video took longer than 4 s")
    assert client.draw()[0] == 200


def test_the_command_serves_with_its_limits(
    lafid: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setattr(serve, "pull_model", lambda _settings, model, *_: served.update(model=model) or StandIn())
    monkeypatch.setattr(serve, "application", lambda service: served.update(limits=service.limits) or "application")
    monkeypatch.setattr(uvicorn, "run", lambda application, **settings: served.update(settings))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = lafid("serve", "models:/lafid/3", "--port", port)
        assert f"port {port} is taken by another program: end it, or choose another with --port" in ended.error
        assert not served
    ended = lafid("serve", "models:/lafid/3", "--port", port, "--queue", 2, "--timeout-s", 9)
    assert ended.code == 0, ended.err
    assert served["limits"] == ServiceLimits(queue=2, timeout_s=9)
    assert (served["model"], served["host"], served["port"]) == ("models:/lafid/3", "127.0.0.1", port)
    assert served["limit_concurrency"] > 3
    assert "no password" not in ended.err
    ended = lafid("serve", "--port", port, "--host", "0.0.0.0")
    assert "there is no password here" in ended.err


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 900
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
