"""The review page as an ASGI application: its static page, and what that asks.

Belongs here: paths, bodies in, statuses out. Not here: what is shown (`clip_page`, `worklist`), who may ask (`guard`).

The page is static and holds no word of any clip. Its script asks for JSON and puts texts in as texts, so that no caption or file
name is ever read as HTML.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import duckdb
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lafid_assets.constraints.policies import first_fault
from lafid_assets.ingest.clip_prefetch import at_hand
from lafid_assets.ingest.locate import locate
from lafid_assets.outcomes import REASONS, ClipError, Status
from lafid_assets.review.clip_facts import Decision
from lafid_assets.review.clip_page import ClipUnknown, read_clip
from lafid_assets.review.guard import NotOwnPage, OwnNamesOnly, Token
from lafid_assets.review.marks import DecidedAnew, MarkRefused, put_mark, take_back
from lafid_assets.review.video import CannotPlay, EncodedClips, media_type
from lafid_assets.review.worklist import MEASURES, Wanted, read_worklist
from model.strict import StrictModel
from resources.lake.lake import Lake, LakeUnusable
from resources.lake.reader import TableMissing
from resources.store.s3_objects import BucketAway

LOG = logging.getLogger("lafid.review")
STATIC = Path(__file__).parent / "static"
MOST_BODY_BYTES = 16_384
Model = TypeVar("Model", bound=BaseModel)


class MarkAsked(StrictModel):
    """Body of a mark."""

    shard: str
    clip_id: str
    seen: Decision
    verdict: Literal["right", "wrong"]
    fault: str | None = None
    note: str | None = None


class TakenBack(StrictModel):
    """Body of an undo."""

    mark_id: str


class BadRequest(ValueError):
    """The request cannot be understood; the message says what is wrong."""


STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NotOwnPage, 403),
    (ClipUnknown, 404),
    (FileNotFoundError, 404),
    (DecidedAnew, 409),
    (MarkRefused, 400),
    (BadRequest, 400),
    (CannotPlay, 422),
    (TableMissing, 503),
    (LakeUnusable, 503),
    (ClipError, 404),
    (BucketAway, 503),
)
"""What an answer says of an error; the first that fits."""


@dataclass(frozen=True)
class Review:
    """One server.

    Attributes:
        lake: opened for writing, unless nobody may mark.
        marker: under which name marks are written; None: nobody may mark.
        shard: the only one to go through; None: all.
        names: of this machine, under which the server may be asked.
    """

    lake: Lake
    encoded: EncodedClips
    marker: str | None
    shard: str | None
    names: Iterable[str]
    token: Token = field(default_factory=Token)

    def application(self) -> Starlette:
        """The server's answers. Those that ask the lake run in threads of their own."""
        marking = [
            Route("/api/marks", _answered(self._mark), methods=["POST"]),
            Route("/api/undo", _answered(self._undo), methods=["POST"]),
        ]
        return Starlette(
            routes=[
                Route("/", lambda _: FileResponse(STATIC / "review.html")),
                Mount("/static", StaticFiles(directory=STATIC)),
                Route("/api/about", _answered(self._about)),
                Route("/api/clips", _answered(self._clips)),
                Route("/api/clips/{shard}/{clip_id:path}", _answered(self._clip)),
                Route("/video/{shard}/{clip_id:path}", _answered(self._video)),
                *(marking if self.marker is not None else []),
            ],
            middleware=[Middleware(OwnNamesOnly, names=self.names)],
        )

    def _about(self, _: Request, __: bytes) -> Response:
        with self.lake.snapshot() as reader:
            sources = reader.sql("SELECT DISTINCT source FROM clip_rows ORDER BY source")["source"].to_list()
            shards = sorted({shard for _, shard in reader.stamps(["face_clips"])})
        return JSONResponse(
            {
                "marker": self.marker,
                "token": self.token.text,
                "shard": self.shard,
                "shards": shards,
                "sources": sources,
                "reasons": sorted(REASONS[Status.REJECTED]),
                "measures": MEASURES,
            }
        )

    def _clips(self, request: Request, _: bytes) -> Response:
        asked = {name: value for name, value in request.query_params.items() if value}
        if self.shard is not None:
            asked["shard"] = self.shard
        wanted = _parsed(Wanted, asked)
        if wanted.measure is not None and wanted.measure not in MEASURES:
            raise BadRequest(f"there is no measure {wanted.measure!r}: choose one of {', '.join(MEASURES)}")
        with self.lake.snapshot() as reader:
            return JSONResponse(read_worklist(reader, wanted, self.marker or "").model_dump())

    def _clip(self, request: Request, _: bytes) -> Response:
        with self.lake.snapshot() as reader:
            return JSONResponse(read_clip(reader, *self._named(request)))

    def _video(self, request: Request, _: bytes) -> Response:
        shard, clip_id = self._named(request)
        known = self.lake.sql("SELECT content_sha256 FROM footage WHERE shard = ? AND clip_id = ?", [shard, clip_id])
        if known.is_empty():
            raise ClipUnknown(f"there is no clip {clip_id!r} in {shard!r}")
        footage = locate(self.lake, shard, [clip_id]).get(clip_id)
        if footage is None:
            raise FileNotFoundError(
                "the clip's file is gone, cannot be reached, or has changed since it was curated: mount its folder, or run "
                "`lafid curate` on the folder where it is now"
            )
        with ExitStack() as stack:
            path = stack.enter_context(at_hand(footage, keep=True))  # a browser asks for one part after the other
            kind = None if request.query_params.get("encoded") else media_type(footage)
            if kind is None:
                encoded = self.encoded.file(clip_id, known["content_sha256"][0], footage)
                return FileResponse(encoded, media_type="video/mp4")
            return FileResponse(path, media_type=kind, background=BackgroundTask(stack.pop_all().close))

    def _mark(self, request: Request, body: bytes) -> Response:
        self.token.require(request)
        assert self.marker is not None
        asked = _parsed(MarkAsked, body)
        words = {"fault": asked.fault, "note": asked.note}
        mark_id = put_mark(self.lake, asked.shard, asked.clip_id, asked.seen, asked.verdict, self.marker, **words)
        return JSONResponse({"mark_id": mark_id})

    def _undo(self, request: Request, body: bytes) -> Response:
        self.token.require(request)
        assert self.marker is not None
        return JSONResponse({"taken_back": take_back(self.lake, _parsed(TakenBack, body).mark_id, self.marker)})

    def _named(self, request: Request) -> tuple[str, str]:
        shard, clip_id = request.path_params["shard"], request.path_params["clip_id"]
        if self.shard not in (None, shard):
            raise ClipUnknown(f"this page shows the shard {self.shard} alone")
        return shard, clip_id


def _answered(answer: Callable[[Request, bytes], Response]) -> Callable[[Request], object]:
    """`answer` in a thread, its errors as JSON that the page shows."""
    from starlette.concurrency import run_in_threadpool

    async def endpoint(request: Request) -> Response:
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY_BYTES:
                    return JSONResponse({"error": f"the request has more than {MOST_BODY_BYTES} bytes"}, 413)
            return await run_in_threadpool(answer, request, body)
        except Exception as error:
            if isinstance(error, duckdb.CatalogException):
                error = LakeUnusable("the lake was made by an earlier LaFID: run `lafid review` once without --read-only")
            status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
            if status == 500:
                LOG.exception("%s failed", request.url.path)
            return JSONResponse({"error": str(error) if status != 500 else f"{type(error).__name__}: see the terminal"}, status)

    return endpoint


def _parsed(model: type[Model], told: bytes | dict[str, str]) -> Model:
    try:
        return model.model_validate_json(told) if isinstance(told, bytes) else model.model_validate(told)
    except ValidationError as error:
        raise BadRequest(first_fault(error)) from None
