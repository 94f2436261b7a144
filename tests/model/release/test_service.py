"""A service around a stand-in model: what it refuses and in which words, whose turn it is, and how a request ends."""

import base64
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.encoding.face_processor import FaceError
from model.release import service as module
from model.release.service import (
    MOST_PHOTOS,
    MOST_REQUESTS,
    RequestWrong,
    ServiceError,
    ServiceLimits,
    TooBusy,
    TookTooLong,
    VideoRequest,
    VideoService,
    parse_request,
)


class StandIn:
    """Draws two frames of the seed's grey, in as many steps as are asked for; counts who is at work."""

    fps = 8.0

    def __init__(self, step_s: float = 0.0) -> None:
        self.step_s = step_s
        self.asked: list[dict[str, Any]] = []
        self.at_work = self.most_at_work = 0

    def generate(self, image: Image.Image | None, prompt: str, **request: Any) -> np.ndarray:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.asked.append({"image": image, "prompt": prompt, **request})
        try:
            for step in range(request["steps"]):
                time.sleep(self.step_s)
                request["on_step"](step + 1, request["steps"])
        finally:
            self.at_work -= 1
        return np.full((2, 16, 16, 3), request["seed"], np.uint8)


def encoded(kind: str = "PNG", **options: Any) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 90, 30)).save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def asking(**fields: Any) -> VideoRequest:
    return parse_request({"prompt": "x", "image": encoded(), "steps": 1} | fields)


def serving(step_s: float = 0.0, **limits: Any) -> tuple[VideoService, StandIn]:
    stand_in = StandIn(step_s)
    return VideoService(stand_in, ServiceLimits(**limits)), stand_in  # type: ignore[arg-type]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no steps": ({"steps": 0}, r"^steps: .*greater than or equal to 1"),
    "steps for a year": ({"steps": 10**9}, r"^steps: .*less than or equal to 1000"),
    "guidance that is no number": ({"guidance": float("nan")}, r"^guidance: .*finite"),
    "guidance without bound": ({"face_guidance": float("inf")}, r"^face_guidance: .*finite"),
    "a megabyte of prompt": ({"prompt": "x " * 500_000}, r"^prompt: .*at most 10000 characters"),
    "a seed of 65 bits": ({"seed": 2**64}, r"^seed: .*less than or equal to"),
    "a seed below zero": ({"seed": -1}, r"^seed: "),
    "half a seed": ({"seed": 1.5}, r"^seed: .*integer"),
    "a huge side": ({"height": 100_000}, r"^height: "),
    "a huge video": ({"height": 4096, "width": 4096, "frames": 1000}, "ask for a smaller or a shorter video"),
    "no such face": ({"face": "tallest"}, r"^face: "),
    "too many photos": ({"photos": ["AAAA"] * (MOST_PHOTOS + 1)}, rf"^photos: .*at most {MOST_PHOTOS} items"),
    "an unknown field": ({"num_frames": 5}, r"^num_frames: Extra inputs are not permitted$"),
    "a field with a long name": ({"y" * 10_000: 1}, r"^y{80}: Extra"),
    "no prompt": ({"prompt": None}, r"^prompt: "),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_no_video_can_be_drawn_of_is_refused_in_one_line(fault: str) -> None:
    fields, message = WRONG[fault]
    with pytest.raises(RequestWrong, match=message) as refused:
        asking(**fields)
    told = str(refused.value)
    assert "\n" not in told
    assert len(told) < 300
    assert encoded()[:40] not in told


def test_too_many_bytes_of_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENCODED", 1000)
    with pytest.raises(RequestWrong, match="the pictures have more than"):
        asking(image="A" * 600, photos=["A" * 600])


PICTURES: dict[str, tuple[dict[str, Any], str]] = {
    "no base64": ({"image": "%%%"}, "^image is no base64"),
    "a path": ({"image": "/etc/passwd"}, "^image.*(no base64|no picture)"),
    "an address": ({"image": "http://localhost:1/x.png"}, "^image is no base64"),
    "an address with its data": (
        {"photos": ["data:image/jpeg;base64," + encoded()]},
        "^photo 0 is no base64: .*without a prefix",
    ),
    "no picture": ({"photos": [encoded(), base64.b64encode(b"hello").decode()]}, "^photo 1: cannot read the picture"),
}


@pytest.mark.parametrize("fault", PICTURES)
def test_a_picture_that_is_none_is_named_and_not_repeated(fault: str) -> None:
    fields, message = PICTURES[fault]
    with pytest.raises(RequestWrong, match=message) as refused:
        serving()[0].draw([asking(**fields)])
    assert "passwd" not in str(refused.value)


def test_every_field_arrives() -> None:
    service, stand_in = serving()
    fields = {"negative_prompt": "blur", "height": 32, "width": 16, "seed": 2**63 - 1, "steps": 3, "guidance": 2.5}
    service.pipeline.generate = lambda *a, **k: stand_in.asked.append(k) or np.zeros((2, 16, 16, 3), np.uint8)  # type: ignore
    service.draw([asking(frames=5, face_guidance=1.5, face="12", photos=[encoded("JPEG"), encoded("WEBP")], **fields)])
    (asked,) = stand_in.asked
    asked.pop("on_step")
    assert [photo.size for photo in asked.pop("photos")] == [(64, 48), (64, 48)]
    assert asked == fields | {"num_frames": 5, "face_guidance": 1.5, "choose": 12}


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("WEBP", {}), ("GIF", {}), ("HEIF", {}), ("AVIF", {}), ("TIFF", {})],
    ids=lambda of: str(of),
)
def test_pictures_come_in_peoples_own_kinds(kind: str, options: dict[str, Any]) -> None:
    service, stand_in = serving()
    service.draw([asking(image=encoded(kind, **options))])
    assert stand_in.asked[0]["image"].getpixel((30, 20)) == pytest.approx((200, 90, 30), abs=12)


def test_four_at_once_are_drawn_one_after_the_other_in_the_order_of_their_coming() -> None:
    service, stand_in = serving(step_s=0.03)
    answers: dict[int, str] = {}

    def ask(seed: int) -> None:
        answers[seed] = service.draw([asking(seed=seed, steps=2)])[0].frames_sha256

    alone = {seed: service.draw([asking(seed=seed)])[0].frames_sha256 for seed in range(4)}
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert answers == alone
    assert stand_in.most_at_work == 1
    assert [asked["seed"] for asked in stand_in.asked[4:]] == [0, 1, 2, 3]
    assert service.at_work == 0


def test_a_full_queue_tells_to_come_again() -> None:
    service, stand_in = serving(step_s=0.2, queue=1)
    threads = [threading.Thread(target=service.draw, args=([asking()],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    _until(lambda: service.at_work == 2)
    with pytest.raises(TooBusy, match="one video is drawn and 1 wait already"):
        service.draw([asking()])
    for thread in threads:
        thread.join()
    assert service.draw([asking()])
    assert len(stand_in.asked) == 3


def test_a_request_whose_time_is_over_makes_room() -> None:
    service, stand_in = serving(step_s=0.02, timeout_s=1.0)
    ends: list[str] = []
    slow = threading.Thread(target=lambda: ends.append(_end_of(service, asking(steps=1000))))
    begun = time.monotonic()
    slow.start()
    _until(lambda: service.at_work == 1)
    time.sleep(0.7)
    assert service.draw([asking()]), "the one behind it got its turn"
    assert time.monotonic() - begun < 10
    slow.join()
    assert ends == ["the video took longer than 1 s: ask for fewer steps or frames"]
    assert len(stand_in.asked) == 2
    assert service.at_work == 0


def test_waiting_too_long_ends_too() -> None:
    service, _ = serving(step_s=0.6, timeout_s=0.2)
    first = threading.Thread(target=_end_of, args=(service, asking()))
    first.start()
    _until(lambda: service.at_work == 1)
    with pytest.raises(TookTooLong, match="its turn did not come within 0.2 s"):
        service.draw([asking()])
    first.join()


def test_the_models_own_words_are_a_callers_fault_and_its_failures_are_not(caplog: pytest.LogCaptureFixture) -> None:
    service, stand_in = serving()

    def failing(error: Exception) -> Callable[..., np.ndarray]:
        def generate(*_: Any, **__: Any) -> np.ndarray:
            raise error

        return generate

    stand_in.generate = failing(FaceError("no face\nfound"))  # type: ignore[method-assign]
    with pytest.raises(RequestWrong, match="^no face found$"):
        service.draw([asking()])
    stand_in.generate = failing(RuntimeError("/root/secret.py failed"))  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match=r"^the model failed on this request \(RuntimeError\)") as told:
        service.draw([asking()])
    assert told.value.status == 500
    assert "secret" not in str(told.value)
    assert "secret" in caplog.text
    with pytest.raises(RequestWrong, match="asks for 1 to 8 videos"):
        service.draw([asking()] * (MOST_REQUESTS + 1))
    with pytest.raises(RequestWrong, match="asks for 1 to 8 videos, this one for 0"):
        service.draw([])
    assert service.at_work == 0


def _end_of(service: VideoService, request: VideoRequest) -> str:
    try:
        service.draw([request])
    except TookTooLong as error:
        return str(error)
    return "drawn"


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
