"""Asking a language model behind any OpenAI-compatible endpoint: a hosted one, vLLM, llama.cpp, Ollama.

Belongs here: one question and its answer, with retries, rate limit, timeout, a cache and the bill. Not here: what is asked and
whether the answer is any good (`llm_rewriter`, `frame_captions`).
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from lafid_assets.captions.answer_cache import Answer, AnswerCache
from lafid_assets.constraints.policies import first_fault
from model.strict import StrictModel
from resources.secrets import has_password, without_password

Message = Mapping[str, Any]
"""One message in the form of OpenAI's chat completions."""


class EndpointUnusable(ValueError):
    """The endpoint cannot be asked at all; the message names the setting and the remedy."""


class NoAnswer(Exception):
    """One question stayed without an answer; the message says why, in words that go into a table."""


class EndpointSettings(StrictModel):
    """Which model answers, and how patiently and at which price it is asked."""

    base_url: str = Field(description="Address of the OpenAI-compatible endpoint, up to and including /v1.", min_length=1)
    model: str = Field(description="Name of the model at that endpoint.", min_length=1)
    api_key_env: str = Field(
        "OPENAI_API_KEY", min_length=1, description="Environment variable that holds the key; the key itself is never stored."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest answer.")
    seed: int = Field(0, description="Sent with every question, for endpoints that heed it.")
    max_tokens: int = Field(600, ge=1, description="Longest answer, in the model's tokens.")
    timeout_s: float = Field(60.0, gt=0, description="Longest wait for the endpoint to connect or to send more.")
    max_retries: int = Field(
        4, ge=0, le=20, description="Further tries after 408, 409, 429, 5xx, a lost connection or a timeout, ever later."
    )
    requests_per_min: float = Field(60.0, gt=0, description="Requests sent at most, retries included.")
    concurrency: int = Field(4, ge=1, le=64, description="Questions that wait for an answer at the same time.")
    give_up_after: int = Field(
        5, ge=1, description="Questions without an answer in a row after which the rest of the shard is not asked."
    )
    price_in_per_million: float | None = Field(None, ge=0, description="Price of a million tokens asked, in your currency.")
    price_out_per_million: float | None = Field(None, ge=0, description="Price of a million tokens answered.")

    @field_validator("base_url")
    @classmethod
    def _tells_no_password(cls, address: str) -> str:
        if has_password(address):
            raise ValueError("it holds a password: take it out, and name the variable that holds the key in api_key_env")
        return address

    def key(self) -> str:
        """The key, from the environment.

        Raises:
            EndpointUnusable: the variable is not set.
        """
        if not (key := os.environ.get(self.api_key_env)):
            raise EndpointUnusable(
                f"{self.base_url} needs a key: set {self.api_key_env} (to anything where the endpoint asks for none)"
            )
        return key


def endpoint_of(address: str) -> EndpointSettings:
    """An endpoint as it is named on a command line, `URL,MODEL`; everything else by default.

    Raises:
        EndpointUnusable: it is no such pair.
    """
    base_url, _, model = address.rpartition(",")
    if not (base_url.startswith(("http://", "https://")) and model):
        raise EndpointUnusable(f"{address!r} names no endpoint: give URL,MODEL, the URL up to and including /v1")
    try:
        return EndpointSettings(base_url=base_url, model=model)
    except ValidationError as error:
        raise EndpointUnusable(f"{without_password(base_url)}: {first_fault(error)}") from None


@dataclass(frozen=True)
class Bill:
    """What was used since the endpoint was made. Answers from the cache cost nothing and are counted apart."""

    answers: int
    cached_answers: int
    unanswered: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def as_metadata(self, prefix: str) -> dict[str, int | float | str]:
        """The bill as Dagster metadata, every name beginning with `prefix`."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return {f"{prefix}_{name}": value for name, value in known.items()} | (
            {} if self.cost is not None else {f"{prefix}_cost": "no price is configured"}
        )


class RateLimiter:
    """Lets calls through at even distances, in whatever thread they come."""

    def __init__(
        self, per_min: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._distance_s = 60.0 / per_min
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at_s: float | None = None

    def wait(self) -> None:
        """Return when the next call may be made."""
        with self._lock:
            now_s = self._clock()
            at_s = now_s if self._free_at_s is None else max(now_s, self._free_at_s)
            self._free_at_s = at_s + self._distance_s
        if at_s > now_s:
            self._sleep(at_s - now_s)


class _Message(BaseModel):
    content: str | None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)


class _Completion(BaseModel):
    """The few fields of a chat completion that count; servers differ in the others."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class ChatEndpoint:
    """One model at one endpoint. Any number of threads may ask.

    Every answer that was paid for is kept in `cache` under the question, the model and the settings, and never paid again.
    """

    def __init__(self, settings: EndpointSettings, cache: AnswerCache) -> None:
        """Read the key; nothing is sent.

        Raises:
            EndpointUnusable: the variable for the key is not set.
        """
        self.settings = settings
        self._key = settings.key()
        self._cache = cache
        self._limiter = RateLimiter(settings.requests_per_min)
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._answers = self._cached = self._unanswered = self._tokens_in = self._tokens_out = 0

    def ask(self, clip_id: str, messages: Sequence[Message]) -> Answer:
        """The answer about a clip, from the cache where it lies there.

        Raises:
            NoAnswer: the endpoint refused, failed or stayed silent through all retries, or the last questions all did.
        """
        question = self._question(messages)
        key = hashlib.sha256(json.dumps([self.settings.base_url, question], sort_keys=True).encode()).hexdigest()
        known = self._cache.get(clip_id, key)
        if known is not None:
            with self._lock:
                self._cached += 1
            return known
        with self._lock:
            if self._in_a_row >= self.settings.give_up_after:
                self._unanswered += 1
                raise NoAnswer(f"not asked: the last {self._in_a_row} questions stayed without an answer")
        try:
            answer = self._send(question)
        except NoAnswer:
            with self._lock:
                self._in_a_row += 1
                self._unanswered += 1
            raise
        self._cache.put(clip_id, key, answer)
        with self._lock:
            self._in_a_row = 0
            self._answers += 1
            self._tokens_in += answer.tokens_in
            self._tokens_out += answer.tokens_out
        return answer

    @property
    def bill(self) -> Bill:
        """What was used so far."""
        prices = (self.settings.price_in_per_million, self.settings.price_out_per_million)
        with self._lock:
            cost = None
            if prices[0] is not None and prices[1] is not None:
                cost = (self._tokens_in * prices[0] + self._tokens_out * prices[1]) / 1e6
            return Bill(self._answers, self._cached, self._unanswered, self._tokens_in, self._tokens_out, cost)

    def _question(self, messages: Sequence[Message]) -> dict[str, Any]:
        settings = self.settings
        return {
            "model": settings.model,
            "messages": [dict(message) for message in messages],
            "temperature": settings.temperature,
            "seed": settings.seed,
            "max_tokens": settings.max_tokens,
        }

    def _send(self, question: dict[str, Any]) -> Answer:
        import openai

        try:
            response = self._client.chat.completions.with_raw_response.create(**question)
            completion = _Completion.model_validate_json(response.http_response.content)
        except openai.APITimeoutError as error:
            raise NoAnswer(f"no answer within {self.settings.timeout_s:g} s") from error
        except openai.APIConnectionError as error:
            raise NoAnswer(f"no connection: {type(error.__cause__ or error).__name__}") from error
        except openai.APIStatusError as error:
            raise NoAnswer(f"the endpoint answered {error.status_code}") from error
        except (openai.OpenAIError, ValidationError) as error:
            raise NoAnswer("the endpoint's answer is no chat completion") from error
        choice, usage = completion.choices[0], completion.usage or _Usage()
        return Answer(choice.message.content or "", choice.finish_reason, usage.prompt_tokens, usage.completion_tokens)

    @cached_property
    def _client(self) -> Any:
        """Retries with backoff and `Retry-After` are the client's own; each try passes the rate limit."""
        import openai

        return openai.OpenAI(
            base_url=self.settings.base_url,
            api_key=self._key,
            timeout=self.settings.timeout_s,
            max_retries=self.settings.max_retries,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [lambda _request: self._limiter.wait()]}),
        )
