"""`lafid serve`: a model behind HTTP, with the requests and answers of `mlflow models serve`. Needs no Dagster.

Belongs here: bodies in, statuses out, health. Not here: what a request may hold and whose turn it is (`model.release.service`).

It runs the code of this LaFID on the model's tensors; MLflow's server runs the code that lies in the entry, and repeats a body
that is no JSON to whoever sent it.
"""

import asyncio
import json
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lafid_assets.cli.display import CONSOLE, ERRORS
from lafid_assets.cli.generate import pull_model
from lafid_assets.cli.options import ModelOptions
from lafid_assets.cli.ui import refuse_busy_port

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from model.release.service import VideoRequest, VideoService

_SPARE_CONNECTIONS = 32
"""Threads beside those that draw or wait: for health, and for callers that are told to come again."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run_serve(how: ModelOptions, model: str, host: str, port: int, limits: dict[str, Any]) -> None:
    """Serve until Ctrl-C or SIGTERM. `limits`: fields of `model.release.service.ServiceLimits`."""
    refuse_busy_port(host, port, "--port")
    import uvicorn

    from model.release.service import ServiceLimits, VideoService

    service = VideoService(pull_model(how, model), ServiceLimits(**limits))
    if host not in _LOOPBACK:
        ERRORS.print(f"whoever reaches {host} can draw: there is no password here, put a gateway before it", style="yellow")
    CONSOLE.print(f"{model}: POST http://{host}:{port}/invocations, GET /health. Ctrl-C ends it.")
    uvicorn.run(
        application(service),
        host=host,
        port=port,
        log_level="warning",
        limit_concurrency=service.limits.queue + 1 + _SPARE_CONNECTIONS,
        timeout_graceful_shutdown=5,
    )


def application(service: "VideoService") -> "Starlette":
    """The service as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from model.release.service import ServiceError

    limits = service.limits
    threads = ThreadPoolExecutor(limits.queue + 2)  # one is left to tell whoever is one too many

    async def invocations(request: Request) -> JSONResponse:
        try:
            body = await _in_time(_body(request), limits.timeout_s)
            found = await asyncio.get_running_loop().run_in_executor(threads, service.draw, _requests(body))
        except ServiceError as error:
            return JSONResponse({"error_code": error.status, "message": str(error)}, error.status)
        return JSONResponse({"predictions": [answer.model_dump() for answer in found]})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"at_work": service.at_work, "queue": limits.queue, "timeout_s": limits.timeout_s})

    return Starlette(
        routes=[
            Route("/invocations", invocations, methods=["POST"]),
            *(Route(path, health, methods=["GET"]) for path in ("/health", "/ping")),
        ]
    )


async def _in_time(reading: Awaitable[bytes], timeout_s: float) -> bytes:
    from model.release.service import TookTooLong

    try:
        return await asyncio.wait_for(reading, timeout_s)
    except TimeoutError:
        raise TookTooLong(f"the request did not arrive within {timeout_s:g} s") from None


async def _body(request: Any) -> bytes:
    """Read as it comes: what is too large is not read to its end."""
    from model.release.service import MOST_BODY_BYTES, RequestWrong

    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BODY_BYTES:
            raise RequestWrong(f"the request has more than {MOST_BODY_BYTES >> 20} MB: give fewer or smaller pictures")
        chunks.append(chunk)
    return b"".join(chunks)


def _requests(body: bytes) -> "list[VideoRequest]":
    from model.release.service import RequestWrong, parse_request

    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestWrong('the body is no JSON: send {"inputs": [{"prompt": ..., "image": ...}]}') from None
    asked = told.get("inputs") if isinstance(told, dict) else None
    if not isinstance(asked, list):
        raise RequestWrong('the body has no list of requests: send {"inputs": [{"prompt": ..., "image": ...}]}')
    found = []
    for number, one in enumerate(asked):
        try:
            found.append(parse_request(one))
        except RequestWrong as error:
            raise RequestWrong(f"request {number}: {error}") from None
    return found
