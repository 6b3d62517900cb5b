"""What `completions.create` can ask of a text beyond its length, by the official client."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import openai
import pytest

from tests import known_models
from tests.known_models import ALPHABET, NEXT_PROBABILITY
from tests.service.protocols.serving import Served

MODEL = known_models.NEXT_TOKEN
OTHERS = (1 - NEXT_PROBABILITY) / (len(ALPHABET) - 2 + 1)


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def create(client: openai.OpenAI, **given: Any) -> Any:
    usual: dict[str, Any] = {"model": MODEL, "prompt": "abc", "max_tokens": 4, "temperature": 0, "seed": 1}
    return client.completions.create(**(usual | given))


def text(client: openai.OpenAI, **given: Any) -> str:
    return str(create(client, **given).choices[0].text)


def test_an_echo_begins_with_the_prompt(client: openai.OpenAI) -> None:
    assert text(client, echo=True) == "abcdefg"
    assert text(client, echo=True, prompt=[2, 3]) == "abcdef"
    assert text(client, echo=True, max_tokens=0) == "abc"
    answer = create(client, echo=True, prompt=["abc", "xy"], n=2)
    assert [choice.text for choice in answer.choices] == ["abcdefg", "abcdefg", "xyz\nab", "xyz\nab"]


def test_an_echo_is_streamed_once(client: openai.OpenAI) -> None:
    pieces = [chunk.choices[0].text for chunk in create(client, echo=True, max_tokens=40, stream=True)]
    assert "".join(pieces).startswith("abcdefgh") and "".join(pieces).count("abc") == 2 and len(pieces) > 2


def test_log_probabilities_are_the_models_own(client: openai.OpenAI) -> None:
    told = create(client, logprobs=2, temperature=1.7, logit_bias={"5": 1}).choices[0].logprobs
    whole = create(client, temperature=1.7, logit_bias={"5": 1}).choices[0].text
    assert "".join(told.tokens) == whole and told.text_offset == [0, 1, 2, 3]
    for place, (token, value, top) in enumerate(zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True)):
        before = ("c" + whole)[place]
        is_next = ALPHABET[(ALPHABET.index(before) + 1) % len(ALPHABET)] == token
        assert math.isclose(value, math.log(NEXT_PROBABILITY if is_next else OTHERS), rel_tol=1e-4)
        assert (
            top[token] == value and 2 <= len(top) <= 3 and math.isclose(max(top.values()), math.log(0.9), rel_tol=1e-4)
        )


def test_log_probabilities_of_an_echoed_prompt_come_first(client: openai.OpenAI) -> None:
    told = create(client, logprobs=1, echo=True, max_tokens=2).choices[0].logprobs
    assert told.tokens == ["a", "b", "c", "d", "e"] and told.text_offset == [0, 1, 2, 3, 4]
    alone = create(client, logprobs=0, echo=True, max_tokens=0).choices[0].logprobs
    assert alone.tokens == ["a", "b", "c"] and alone.top_logprobs is None
    assert alone.token_logprobs == told.token_logprobs[:3]


def test_streamed_log_probabilities_are_those_of_the_whole(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"logprobs": 1, "max_tokens": 50, "temperature": 1.5, "echo": True, "stop": "qr"}
    whole = create(client, **asked).choices[0]
    chunks = [chunk.choices[0] for chunk in create(client, **asked, stream=True)]
    parts = [chunk.logprobs for chunk in chunks if chunk.logprobs is not None]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [token for part in parts for token in part.tokens] == whole.logprobs.tokens
    assert [offset for part in parts for offset in part.text_offset] == whole.logprobs.text_offset
    assert [value for part in parts for value in part.token_logprobs] == whole.logprobs.token_logprobs


def test_a_bias_bans_a_token_and_forces_one(client: openai.OpenAI) -> None:
    d = str(ALPHABET.index("d") + 1)
    assert not text(client, logit_bias={d: -100}).startswith("d")
    assert text(client, logit_bias={d: 100}) == "dddd"


def test_penalties_keep_a_text_from_repeating_itself(client: openai.OpenAI) -> None:
    d = str(ALPHABET.index("d") + 1)
    biased = {"logit_bias": {d: 6.5}, "max_tokens": 6}
    assert text(client, **biased).startswith("dd")
    assert text(client, **biased, presence_penalty=2) == "defghi"
    assert text(client, **biased, frequency_penalty=2) == "defghi"


@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"min_p": 0.5}, {"typical_p": 0.1}, {"top_k": 3, "min_p": 0.2, "typical_p": 0.9}]
)
def test_narrow_filters_leave_the_likeliest(client: openai.OpenAI, narrow: dict[str, Any]) -> None:
    assert text(client, temperature=1, max_tokens=20, extra_body=narrow) == "defghijklmnopqrstuvw"


def test_a_regular_expression_is_followed_to_its_end(client: openai.OpenAI) -> None:
    choice = create(client, temperature=2, max_tokens=60, extra_body={"regex": "[a-f]{5}\n(x|y)z"}).choices[0]
    assert re.fullmatch("[a-f]{5}\n(x|y)z", choice.text) and choice.finish_reason == "stop"
    cut = create(client, temperature=2, max_tokens=3, extra_body={"regex": "[a-f]{5}"}).choices[0]
    assert re.fullmatch("[a-f]{3}", cut.text) and cut.finish_reason == "length"


def test_a_grammar_is_followed_whole_and_streamed(client: openai.OpenAI) -> None:
    grammar = 'start: verb (noun verb)*\nverb: "go" | "stay"\nnoun: "dog" | "cat"\n'
    body = {"grammar": grammar}
    whole = create(client, temperature=2, max_tokens=50, extra_body=body).choices[0].text
    streamed = create(client, temperature=2, max_tokens=50, extra_body=body, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == whole
    assert re.match("(go|stay)((dog|cat)(go|stay))*", whole)


def test_the_best_of_several_is_the_likeliest(client: openai.OpenAI) -> None:
    several = create(client, n=6, temperature=2, max_tokens=12, logprobs=0).choices
    best = create(client, best_of=6, temperature=2, max_tokens=12, logprobs=0).choices
    means = {choice.text: sum(choice.logprobs.token_logprobs) / 12 for choice in several}
    assert len(best) == 1 and best[0].text == max(means, key=means.__getitem__)
    two = create(client, best_of=6, n=2, temperature=2, max_tokens=12).choices
    assert [choice.text for choice in two] == sorted(means, key=lambda text: -means[text])[:2]
    assert [choice.index for choice in two] == [0, 1]


def test_texts_that_are_drawn_and_not_answered_count_as_well(client: openai.OpenAI) -> None:
    for more in ({"best_of": 16}, {"extra_body": {"beams": 16}}):
        with pytest.raises(openai.APIStatusError) as refused:
            create(client, prompt=["a"] * 17, **more)
        assert refused.value.status_code == 413 and refused.value.param == "prompt"


def test_beams_find_the_likeliest_texts(client: openai.OpenAI) -> None:
    answer = create(client, prompt=["abc", "x"], n=2, max_tokens=5, extra_body={"beams": 3})
    assert [choice.text for choice in answer.choices][::2] == ["defgh", "yz\nab"]
    assert len({choice.text for choice in answer.choices}) == 4


def test_every_control_works_in_a_session_and_is_safe_to_repeat(client: openai.OpenAI) -> None:
    asked: list[dict[str, Any]] = [
        {"logprobs": 2, "echo": True},
        {"best_of": 4, "temperature": 1.5},
        {"presence_penalty": 1, "frequency_penalty": 1, "stop": "i"},
        {"extra_body": {"beams": 2}},
        {"extra_body": {"regex": "[a-z]{3}"}},
        {"logit_bias": {"3": 5}, "extra_body": {"top_k": 3}},
    ]
    session, position = uuid4().hex, 0
    for number, one in enumerate(asked):
        extra = one.get("extra_body", {}) | {"session_id": session, "position": position}
        given = one | {"prompt": "abc" if number == 0 else "", "max_tokens": 20, "extra_body": extra}
        first, again = create(client, **given), create(client, **given)
        assert again.repeated and again.position == first.position
        assert [choice.text for choice in again.choices] == [choice.text for choice in first.choices]
        position = first.position


def test_what_prompts_share_is_counted(client: openai.OpenAI) -> None:
    prompt = "abcdefghijklmnopqrstuvwxyz" * 5 + uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
    first = create(client, prompt=prompt, n=3)
    again = create(client, prompt=prompt, n=3)
    longer = create(client, prompt=prompt + "abc")
    assert first.usage.prompt_tokens_details.cached_tokens in (0, 64, 128)
    assert again.usage.prompt_tokens_details.cached_tokens == len(prompt)
    assert longer.usage.prompt_tokens_details.cached_tokens == 128
    assert [choice.text for choice in again.choices] == [choice.text for choice in first.choices]
