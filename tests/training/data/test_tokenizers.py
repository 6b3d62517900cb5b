"""Every kind of tokenizer reads back what it wrote, through a plain tokenizer.json."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tokenizers import Tokenizer

from training.data.tokenizers import build_tokenizer, encode, save_tokenizer, start_token, unknown_token
from training.errors import TrainingError

POEM = "明月几时有？\n把酒问青天。\n\n不知天上宫阙，\r\n\t今夕是何年 🏮 é\n" * 20


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_text_survives_encoding_and_decoding_through_a_file(tmp_path: Path, kind: str) -> None:
    built = build_tokenizer(kind, POEM, 400)  # type: ignore[arg-type]
    save_tokenizer(built, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokens = encode(tokenizer, kind, POEM)  # type: ignore[arg-type]
    assert tokenizer.decode(tokens.tolist()) == POEM
    assert tokenizer.decode([start_token(tokenizer)]) == "\n"


def test_characters_are_single_tokens_and_what_is_unknown_says_so() -> None:
    tokenizer = build_tokenizer("char", "abca\n")
    assert encode(tokenizer, "char", "cab").tolist() == [4, 2, 3]
    assert encode(tokenizer, "char", "aéb").tolist() == [2, 0, 3] and unknown_token(tokenizer) == 0


def test_pieces_of_a_long_text_join_without_seam() -> None:
    tokenizer, text = build_tokenizer("char", "abcdefg"), "abcdefg" * 10_000
    assert tokenizer.decode(encode(tokenizer, "char", text).tolist()) == text


@pytest.mark.parametrize("kind", ["byte", "bpe"])
def test_byte_level_tokenizers_know_every_byte(kind: str) -> None:
    tokenizer = build_tokenizer(kind, "only ascii here, only ascii", 300)  # type: ignore[arg-type]
    assert unknown_token(tokenizer) is None
    unseen = "𝄞 ñ \x00\x7f 龍"
    assert tokenizer.decode(encode(tokenizer, kind, unseen).tolist()) == unseen  # type: ignore[arg-type]


def test_bytes_are_256_tokens_and_pairs_as_many_as_asked() -> None:
    assert build_tokenizer("byte", "").get_vocab_size() == 256
    assert build_tokenizer("bpe", POEM, 280).get_vocab_size() == 280
    with pytest.raises(TrainingError, match="more than the 256 bytes, got 256"):
        build_tokenizer("bpe", POEM, 256)


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(TrainingError, match="expected one of char, byte, bpe, got 'word'"):
        build_tokenizer("word", POEM)  # type: ignore[arg-type]
