"""OpenAI's completion request and answer, as far as they are served; the rest is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from service.errors import InputMismatch
from service.protocols.reading import Message
from service.protocols.text_controls import TextControls

DEFAULT_TOKENS = 16


class StreamOptions(Message):
    """What a stream carries besides text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CompletionBody(TextControls, kw_only=True):
    """A prompt to continue: a text, several, token ids, or several lists of those.

    `session_id` continues a session, opening it where there is none: the prompt is what is new, and `position` (or an
    idempotency key) makes the request safe to send again.
    """

    model: str
    prompt: str | list[str | int | list[int]] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    session_id: str | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    durability: Literal["sync", "async", "none"] | None = None
    echo: bool | None = None
    # Known to OpenAI's clients; nothing but the value that changes nothing is served.
    suffix: str | None = None


class LogProbabilities(msgspec.Struct):
    """Tokens of a completion, the natural logarithm of the probability of each, the likeliest in its place, and where
    it begins in the text, in characters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class Choice(msgspec.Struct):
    """One completion, or a piece of one."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: LogProbabilities | None = None


class PromptTokensDetails(msgspec.Struct):
    """Prompt tokens that were not read, because another prompt had begun alike."""

    cached_tokens: int


class Usage(msgspec.Struct):
    """Tokens taken in and given out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "suffix": (None, ""),
}


def check_supported(body: CompletionBody) -> None:
    """Refuse by name what is not served.

    Raises:
        InputMismatch: a parameter asks for something, or two do not go together.
    """
    for name, neutral in _NEUTRAL.items():
        if getattr(body, name) not in neutral:
            raise InputMismatch(f"{name}: not supported: leave it out", parameter=name)
    if body.stream_options is not None and not body.stream:
        raise InputMismatch("stream_options: expected only together with stream: true", parameter="stream_options")
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        name = "stream_options.include_obfuscation"
        raise InputMismatch(f"{name}: not supported: leave it out", parameter=name)
    _check_search(body)
    for name in ("position", "durability"):
        if body.session_id is None and getattr(body, name) is not None:
            raise InputMismatch(f"{name}: expected only together with session_id", parameter=name)
    if body.session_id is not None and (body.n or 1) > 1:
        raise InputMismatch("n: expected 1 with session_id: a session goes one way; fork it for others", parameter="n")


def _check_search(body: CompletionBody) -> None:
    for name in ("best_of", "beams"):
        found: int = getattr(body, name) or 0
        if 0 < found < (body.n or 1):
            raise InputMismatch(f"{name}: expected at least n, which is {body.n}, got {found}", parameter=name)
        if body.stream and found > (body.n or 1 if name == "best_of" else 0):
            raise InputMismatch(
                f"{name}: cannot be streamed, since the best is known at the end: leave out one of both", parameter=name
            )


def searches(body: CompletionBody) -> bool:
    """Whether choices are picked from more, by best_of or a beam search."""
    return bool(body.beams) or (body.best_of or 1) > (body.n or 1)


def prompts_of(body: CompletionBody) -> list[str | list[int]]:
    """The prompts, each a text or token ids.

    Raises:
        InputMismatch: texts and tokens mixed, no prompt at all, or several for one session.
    """
    given = body.prompt
    prompts: list[str | list[int]]
    if given is None or isinstance(given, str):
        prompts = [given or ""]
    elif not given:
        raise InputMismatch("prompt: expected at least one prompt, got an empty list", parameter="prompt")
    else:
        prompts = _prompts_in(given)
    if body.session_id is not None and len(prompts) > 1:
        raise InputMismatch(f"prompt: expected one with session_id, got {len(prompts)}", parameter="prompt")
    return prompts


def _prompts_in(given: list[str | int | list[int]]) -> list[str | list[int]]:
    tokens = [part for part in given if isinstance(part, int)]
    if len(tokens) == len(given):
        return [tokens]
    texts = [part for part in given if isinstance(part, str)]
    lists = [part for part in given if isinstance(part, list)]
    if len(given) not in (len(texts), len(lists)):
        raise InputMismatch(
            "prompt: expected texts, or token ids, or lists of token ids, not a mixture", parameter="prompt"
        )
    return [*texts, *lists]
