"""OpenAI's `/v1/completions`, for the clients people already have; `session_id` continues from a kept state."""

from __future__ import annotations

from service.protocols.documentation import Route
from service.protocols.openai.completions import create_completion
from service.protocols.openai.errors import render
from service.protocols.openai.messages import CompletionBody

__all__ = ["HOT_ROUTES", "PREFIX", "ROUTES", "render"]

PREFIX = "/v1/completions"

_EXAMPLE = {"model": "shakespeare", "prompt": "ROMEO:", "max_tokens": 64, "temperature": 0.8, "seed": 7}
_ANSWER = {
    "id": "cmpl-5f0c",
    "object": "text_completion",
    "created": 1795000000,
    "model": "shakespeare",
    "system_fingerprint": "shakespeare/1",
    "choices": [{"index": 0, "text": "\nWhat light is this", "logprobs": None, "finish_reason": "length"}],
    "usage": {
        "prompt_tokens": 6,
        "completion_tokens": 64,
        "total_tokens": 70,
        "prompt_tokens_details": {"cached_tokens": 0},
    },
}
_KEY = {"idempotency-key": ("header", "with session_id: the same request sent again is not carried out again")}

ROUTES = (
    Route(
        "POST",
        PREFIX,
        create_completion,
        _ANSWER,
        "predict or sessions",
        body=CompletionBody,
        example=_EXAMPLE,
        parameters=_KEY,
    ),
)
HOT_ROUTES = ROUTES
