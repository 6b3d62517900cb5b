"""Text to tokens and back, and text that arrives in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from service.contract.manifest import ManifestError, TextTask, load_manifest
from service.errors import InputMismatch
from service.models.tokenizer import StreamDecoder, Tokenizer, byte_alphabet
from tests import known_models


@pytest.fixture
def letters(tmp_path: Path) -> Tokenizer:
    return loaded(known_models.next_token(tmp_path))


@pytest.fixture(scope="module")
def of_bytes(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return loaded(known_models.next_token(tmp_path_factory.mktemp("models"), kind="byte"))


def loaded(folder: Path) -> Tokenizer:
    return Tokenizer((folder / "tokenizer.json").read_bytes(), text_task(folder))


def text_task(folder: Path) -> TextTask:
    task = load_manifest(folder).text
    assert task is not None
    return task


def test_characters_become_tokens_and_come_back(letters: Tokenizer) -> None:
    tokens = letters.encode("\nabz")
    assert tokens.tolist() == [1, 2, 3, 27]
    assert tokens.dtype.name == "int64"
    assert letters.decode(tokens.tolist()) == "\nabz"
    assert letters.token_bytes(2) == b"a"
    assert letters.encode("").shape == (0,)


def test_unknown_characters_are_named(letters: Tokenizer) -> None:
    with pytest.raises(InputMismatch, match=r"'€' \(U\+20AC\), first at character 2"):
        letters.encode("ab€c€")
    with pytest.raises(InputMismatch, match="and 3 more"):
        letters.encode("ABCDEFGH")


@pytest.mark.parametrize("kind", ["letters", "of_bytes"])
def test_a_lone_surrogate_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    with pytest.raises(InputMismatch, match="lone surrogate"):
        tokenizer.encode("a\ud83d")


def test_the_unknown_token_is_shown_as_a_replacement_character(letters: Tokenizer) -> None:
    assert letters.decode([2, 0, 3]) == "a\ufffdb"


def test_characters_outside_ascii_are_whole_tokens(tmp_path: Path) -> None:
    poem = loaded(known_models.next_token(tmp_path, alphabet="\n明月幾時有𠮷e\u0301"))
    text = "明月\n幾時有𠮷e\u0301"
    assert len(poem.encode(text)) == len(text)
    assert poem.decode(poem.encode(text).tolist()) == text


def test_bytes_are_their_own_tokens(of_bytes: Tokenizer) -> None:
    assert of_bytes.encode("a月\n").tolist() == list("a月\n".encode())
    assert [of_bytes.token_bytes(byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]


def test_the_byte_alphabet_is_the_library_s() -> None:
    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_alphabet().values()) == list(range(256))


TEXTS = ["明月幾時有？", "👩‍👩‍👧 family", "a\u0301 naïve café", "\ufeffBOM\r\n", "", "plain"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_pieces_joined_are_the_whole(of_bytes: Tokenizer, text: str, width: int) -> None:
    tokens = of_bytes.encode(text).tolist()
    decoder = StreamDecoder(of_bytes)
    pieces = [decoder.feed(tokens[start : start + width]) for start in range(0, len(tokens), width)]
    assert "".join(pieces) + decoder.flush() == text


@given(st.binary(max_size=40), st.integers(1, 7))
def test_any_bytes_in_any_pieces_give_what_the_whole_gives(of_bytes: Tokenizer, content: bytes, width: int) -> None:
    decoder = StreamDecoder(of_bytes)
    pieces = [decoder.feed(content[start : start + width]) for start in range(0, len(content), width)]
    assert "".join(pieces) + decoder.flush() == of_bytes.decode(content)


def test_a_decoder_goes_on_where_another_stood(of_bytes: Tokenizer) -> None:
    first = StreamDecoder(of_bytes)
    moon = "月".encode()
    assert first.feed(moon[:2]) == ""
    assert first.pending == moon[:2]
    second = StreamDecoder(of_bytes, first.pending)
    assert second.feed(moon[2:]) == "月"
    assert second.pending == b""


def test_a_character_cut_at_the_end_is_shown_once(of_bytes: Tokenizer) -> None:
    decoder = StreamDecoder(of_bytes)
    assert decoder.feed("a月".encode()[:-1]) == "a"
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""


def test_merges_of_bytes_may_hold_parts_of_characters(tmp_path: Path) -> None:
    text = "明月幾時有明月有時 to be or not to be" * 3
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    bpe.train_from_iterator([text], trainer)
    task = text_task(known_models.next_token(tmp_path))
    size = bpe.get_vocab_size()
    update = {"tokenizer_kind": "bpe", "vocabulary_size": size, "unknown_token": None, "start_token": 0}
    tokenizer = Tokenizer(bpe.to_str().encode(), task.model_copy(update=update))
    tokens = tokenizer.encode(text).tolist()
    decoder = StreamDecoder(tokenizer)
    assert "".join(decoder.feed([token]) for token in tokens) + decoder.flush() == text
    assert tokenizer.token_bytes(0) == b""


def test_a_vocabulary_unlike_the_manifest_s_is_refused(tmp_path: Path) -> None:
    folder = known_models.next_token(tmp_path)
    task = text_task(folder).model_copy(update={"vocabulary_size": 300})
    with pytest.raises(ManifestError, match="the manifest says 300 tokens, the file has 28"):
        Tokenizer((folder / "tokenizer.json").read_bytes(), task)


@pytest.mark.parametrize("field", ["start_token", "unknown_token"])
def test_a_token_outside_the_vocabulary_is_refused(tmp_path: Path, field: str) -> None:
    folder = known_models.next_token(tmp_path)
    with pytest.raises(ManifestError, match=f"text.{field}: expected a token below 28, got 28"):
        Tokenizer((folder / "tokenizer.json").read_bytes(), text_task(folder).model_copy(update={field: 28}))


def test_a_broken_tokenizer_file_is_refused(tmp_path: Path) -> None:
    folder = known_models.next_token(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"tokenizer.json: cannot be read as a tokenizer"):
        loaded(folder)


@given(st.binary(max_size=40))
def test_any_bytes_become_tokens_that_stand_for_them(of_bytes: Tokenizer, content: bytes) -> None:
    assert b"".join(map(of_bytes.token_bytes, of_bytes.encode_bytes(content))) == content


def test_bytes_that_are_text_become_the_texts_tokens(tmp_path: Path) -> None:
    pairs = loaded(known_models.next_token(tmp_path, kind="byte", merges=[("a", "b"), ("ab", "c")]))
    assert pairs.encode_bytes(b"abcab") == pairs.encode("abcab").tolist() == [257, 256]
    rest = "☃".encode()[1:]
    assert [pairs.token_bytes(token) for token in pairs.encode_bytes(rest + b"ab")] == [rest[:1], rest[1:], b"a", b"b"]


def test_a_token_that_is_never_drawn_stands_for_nothing(letters: Tokenizer) -> None:
    assert letters.drawable_bytes()[0] == b"" and letters.token_bytes(0) != b""
