"""What is asked of a text generator, and the pieces it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import TextTask
from service.errors import InputMismatch
from service.models.model import Model
from service.tasks.limits import TaskLimits, check_count

Tokens = NDArray[np.int64]

PIECE_TOKENS = 16
"""Tokens between two commits of a generation, and so between two pieces of a streamed answer."""

MAX_TEMPERATURE = 2.0
MAX_STOPS, MAX_STOP_LENGTH = 4, 256
MAX_WINDOW = 64
"""Tokens that penalties look back at; a session remembers so many."""
MAX_LOGPROBS = 20
MAX_PENALTY, MAX_BIAS, MAX_BIASES = 2.0, 100.0, 1024
MAX_REPETITION_PENALTY = 10.0
MAX_BEAMS, MAX_BEST_OF = 16, 20
MAX_CONSTRAINT_LENGTH = 16_384

_NEED_PREDICTIONS = (
    *("top_k", "min_p", "typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("logit_bias", "logprobs", "beams"),
)

ConstraintKind = Literal["regex", "json_schema", "grammar"]


@dataclass(frozen=True)
class Constraint:
    """A language that the generated text is to be of: a regular expression, a JSON schema, or a grammar."""

    kind: ConstraintKind
    text: str


@dataclass(frozen=True)
class GenerateRequest:
    """How to continue: at most `max_tokens`, ending before any of the `stop` strings.

    Logits go through these controls in this order: penalties, `logit_bias`, `constraint`, `temperature`, `top_k`,
    `top_p`, `min_p`, `typical_p`; see `service.tasks.sampling`.

    Args:
        temperature: 0 takes the likeliest.
        top_p: the mass of the nucleus (Holtzman et al. 2020); 0 leaves the likeliest token alone.
        top_k: of the likeliest tokens that are kept; 0 for all.
        penalty_window: tokens before that the penalties count.
        logit_bias: what is added to the logits of tokens.
        logprobs: the likeliest alternatives to tell with each token; None tells nothing, 0 the tokens' own.
        prompt_logprobs: whether to tell them for the prompt as well.
        best_of: texts that are drawn, of which the likeliest per token is taken.
        beams: of a beam search, which takes the place of drawing; 0 for none.
        length_penalty: of a beam search: scores are divided by the length to this power.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = MAX_WINDOW
    logit_bias: tuple[tuple[int, float], ...] = ()
    constraint: Constraint | None = None
    logprobs: int | None = None
    prompt_logprobs: bool = False
    best_of: int = 1
    beams: int = 0
    length_penalty: float = 1.0

    @property
    def penalises(self) -> bool:
        """Whether earlier tokens change what may be drawn."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)

    @property
    def steps_beside(self) -> bool:
        """Whether tokens are drawn beside the graph, one run each: what the graph draws with does not do."""
        filters = (self.top_k, self.min_p, self.typical_p) != (0, 0.0, 1.0)
        return filters or self.penalises or bool(self.logit_bias) or self.constraint is not None

    @property
    def needs_predictions(self) -> bool:
        """Whether a model must have the graph `predict`."""
        return self.steps_beside or self.logprobs is not None or self.beams > 0

    @property
    def first_that_needs_predictions(self) -> str:
        """The name of a control that needs the graph `predict`; only where one does."""
        if self.constraint is not None:
            return self.constraint.kind
        plain = GenerateRequest(self.max_tokens)
        return next(name for name in _NEED_PREDICTIONS if getattr(self, name) != getattr(plain, name))


@dataclass(frozen=True)
class Alternatives:
    """Tokens (t,) that were taken, and what was as likely or likelier: (t, 1 + k) each, the token itself first.

    Natural logarithms of the model's own probabilities, before any control.
    """

    tokens: Tokens
    log_probabilities: NDArray[np.float32]

    def after(self, count: int) -> Alternatives:
        """Those to the tokens after the first `count`."""
        return Alternatives(self.tokens[count:], self.log_probabilities[count:])


@dataclass(frozen=True)
class TextPiece:
    """A piece of generated text. The last one says why it ended; a stop string is no part of it.

    `position` and `durable_position` are the session's after the piece, and None without a session.

    Args:
        alternatives: to each of the tokens, where asked for.
        prompt_alternatives: to each of the prompt's, where asked for, on the first piece.
        cached_tokens: of the prompt, that were not read because another had begun alike; on the first piece.
    """

    text: str
    tokens: list[int]
    finish_reason: str | None
    position: int | None = None
    durable_position: int | None = None
    repeated: bool = False
    restored: bool = False
    alternatives: Alternatives | None = None
    prompt_alternatives: Alternatives | None = None
    cached_tokens: int = 0


def check_request(model: Model, task: TextTask, request: GenerateRequest, limits: TaskLimits) -> None:
    """Refuse what cannot be, before any work is done.

    Raises:
        InputMismatch: a control is out of its range, does not go with another, or is more than the model can do.
        RequestTooLarge: too many tokens are asked for.
    """
    check_count("max_tokens", request.max_tokens, limits.max_tokens, least=0)
    _check_range("temperature", request.temperature, 0, MAX_TEMPERATURE)
    _check_range("top_p", request.top_p, 0, 1)
    if len(request.stop) > MAX_STOPS:
        raise InputMismatch(f"stop: expected at most {MAX_STOPS} texts, got {len(request.stop)}", parameter="stop")
    for stop in request.stop:
        if not 0 < len(stop) <= MAX_STOP_LENGTH:
            raise InputMismatch(
                f"stop: expected texts of 1 to {MAX_STOP_LENGTH} characters, got one of {len(stop)}", parameter="stop"
            )
    _check_filters(request)
    _check_penalties(request)
    _check_biases(request, task)
    _check_search(request)
    if request.needs_predictions and "predict" not in model.graphs:
        control = request.first_that_needs_predictions
        raise InputMismatch(
            f"{control}: model {model.manifest.id} has no graph `predict`, which this control needs: publish the model "
            "again with one, or leave the control out",
            parameter=control,
        )


def _check_filters(request: GenerateRequest) -> None:
    if request.top_k < 0:
        raise InputMismatch(f"top_k: expected 0 (all) or more, got {request.top_k}", parameter="top_k")
    _check_range("min_p", request.min_p, 0, 1)
    if not 0 < request.typical_p <= 1:
        raise InputMismatch(
            f"typical_p: expected more than 0 and at most 1, got {request.typical_p:g}", parameter="typical_p"
        )
    if request.logprobs is not None:
        _check_range("logprobs", request.logprobs, 0, MAX_LOGPROBS)


def _check_penalties(request: GenerateRequest) -> None:
    if not 0 < request.repetition_penalty <= MAX_REPETITION_PENALTY:
        raise InputMismatch(
            f"repetition_penalty: expected more than 0 and at most {MAX_REPETITION_PENALTY:g}, "
            f"got {request.repetition_penalty:g}",
            parameter="repetition_penalty",
        )
    _check_range("presence_penalty", request.presence_penalty, -MAX_PENALTY, MAX_PENALTY)
    _check_range("frequency_penalty", request.frequency_penalty, -MAX_PENALTY, MAX_PENALTY)
    _check_range("penalty_window", request.penalty_window, 1, MAX_WINDOW)
    if request.penalty_window != MAX_WINDOW and not request.penalises:
        raise InputMismatch(
            "penalty_window: tells how far back penalties look: send repetition_penalty, presence_penalty or "
            "frequency_penalty as well, or leave it out",
            parameter="penalty_window",
        )


def check_bias_count(count: int) -> None:
    """Refuse biases of more tokens than one request may name.

    Raises:
        InputMismatch: there are more.
    """
    if count > MAX_BIASES:
        raise InputMismatch(f"logit_bias: expected at most {MAX_BIASES} tokens, got {count}", parameter="logit_bias")


def _check_biases(request: GenerateRequest, task: TextTask) -> None:
    check_bias_count(len(request.logit_bias))
    for token, bias in request.logit_bias:
        if not 0 <= token < task.vocabulary_size:
            raise InputMismatch(
                f"logit_bias: expected token ids from 0 to {task.vocabulary_size - 1}, got {token}",
                parameter="logit_bias",
            )
        if not -MAX_BIAS <= bias <= MAX_BIAS:
            raise InputMismatch(
                f"logit_bias: expected {-MAX_BIAS:g} to {MAX_BIAS:g} for token {token}, got {bias:g}",
                parameter="logit_bias",
            )


def _check_search(request: GenerateRequest) -> None:
    _check_range("best_of", request.best_of, 1, MAX_BEST_OF)
    _check_range("beams", request.beams, 0, MAX_BEAMS)
    _check_range("length_penalty", request.length_penalty, 0, MAX_PENALTY)
    # Temperature 0 draws nothing either, so that it asks for nothing else than the beams do.
    draws = request.best_of > 1 or request.temperature not in (0.0, 1.0) or request.top_p != 1.0
    if request.beams and (request.steps_beside or draws):
        raise InputMismatch(
            "beams: a beam search takes the likeliest texts by the model alone: leave best_of, temperature, top_p, "
            "top_k, min_p, typical_p, penalties, logit_bias and constraints out",
            parameter="beams",
        )
    if request.length_penalty != 1.0 and not request.beams:
        raise InputMismatch(
            "length_penalty: ranks the texts of a beam search: send beams as well, or leave it out",
            parameter="length_penalty",
        )
    length = 0 if request.constraint is None else len(request.constraint.text)
    if request.constraint is not None and not 0 < length <= MAX_CONSTRAINT_LENGTH:
        kind = request.constraint.kind
        raise InputMismatch(f"{kind}: expected 1 to {MAX_CONSTRAINT_LENGTH} characters, got {length}", parameter=kind)


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputMismatch(f"{name}: expected {least:g} to {most:g}, got {value:g}", parameter=name)
