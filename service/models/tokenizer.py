"""Text to tokens and back: the model's tokenizer file, and a decoder for text that arrives in pieces."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

import numpy as np
import tokenizers
from numpy.typing import NDArray

from service.contract.manifest import ManifestError, TextTask, TokenTask
from service.errors import InputMismatch

_NAMED_AT_MOST = 5


class Tokenizer:
    """The tokens of one model; the same file training used, read by the same library."""

    def __init__(self, content: bytes, task: TokenTask) -> None:
        """Read the content of the tokenizer file and check it against the manifest's section of the task.

        Raises:
            ManifestError: unreadable, or of another vocabulary than the manifest says.
        """
        file = task.tokenizer.file
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises bare Exception
            raise ManifestError(f"{file}: cannot be read as a tokenizer: {error}") from error
        self.vocabulary_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if self.vocabulary_size != task.vocabulary_size:
            raise ManifestError(
                f"{file}: the manifest says {task.vocabulary_size} tokens, the file has {self.vocabulary_size}"
            )
        where, start = ("text", task.start_token) if isinstance(task, TextTask) else ("classify", None)
        for name, token in (("start_token", start), ("unknown_token", task.unknown_token)):
            if token is not None and not 0 <= token < self.vocabulary_size:
                raise ManifestError(f"{where}.{name}: expected a token below {self.vocabulary_size}, got {token}")
        self._unknown = task.unknown_token
        special = {token for token, added in self._tokenizer.get_added_tokens_decoder().items() if added.special}
        of_bytes = task.tokenizer_kind != "char"
        self._bytes: list[bytes] = [self._bytes_of(token, special, of_bytes) for token in range(self.vocabulary_size)]
        self._of_one_byte = {content: token for token, content in enumerate(self._bytes) if len(content) == 1}

    @property
    def longest_token(self) -> int:
        """Bytes of the longest token, and so the most characters that one may hold."""
        return max(map(len, self._bytes))

    def encode(self, text: str, *, take_unknown: bool = False) -> NDArray[np.int64]:
        """The text's tokens (T,).

        Args:
            take_unknown: whether characters without a token of their own become the unknown token, if there is one.

        Raises:
            InputMismatch: characters the model has no token for (named), or a lone surrogate, which is no character.
        """
        try:
            # As a batch of one, for which the library lets go of the interpreter; a long text takes a while.
            (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            raise InputMismatch("text: expected Unicode text, got a lone surrogate", parameter="text") from error
        tokens = np.array(encoding.ids, np.int64)
        if self._unknown is not None and not take_unknown and self._unknown in encoding.ids:
            self._refuse_unknown(text, tokens, encoding.offsets)
        return tokens

    def encode_bytes(self, content: bytes) -> list[int]:
        """Tokens that stand for exactly these bytes, or for as many of them as there are tokens for.

        Those of the text, where they are one; else byte by byte, as for the rest of a character that was begun.
        """
        try:
            tokens: list[int] = self.encode(content.decode()).tolist()
        except (UnicodeDecodeError, InputMismatch):
            tokens = []
        if b"".join(map(self.token_bytes, tokens)) == content:
            return tokens
        places = [self._of_one_byte.get(content[index : index + 1]) for index in range(len(content))]
        return [place for place in places if place is not None]

    def drawable_bytes(self) -> list[bytes]:
        """The bytes of each token, none for one that is never drawn."""
        return [b"" if token == self._unknown else content for token, content in enumerate(self._bytes)]

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes one token stands for: a character, part of one, or several; none for a special token."""
        return self._bytes[token]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self._bytes[token] for token in tokens).decode("utf-8", "replace")

    def _refuse_unknown(self, text: str, tokens: NDArray[np.int64], offsets: list[tuple[int, int]]) -> None:
        where = np.flatnonzero(tokens == self._unknown).tolist()
        unknown = sorted({text[slice(*offsets[index])] for index in where})
        named = ", ".join(f"{piece!r} ({_code_points(piece)})" for piece in unknown[:_NAMED_AT_MOST])
        more = f" and {len(unknown) - _NAMED_AT_MOST} more" if len(unknown) > _NAMED_AT_MOST else ""
        raise InputMismatch(
            f"text: expected only characters the model was trained on, got {named}{more}, first at character "
            f"{offsets[where[0]][0]}; leave them out or replace them",
            parameter="text",
        )

    def _bytes_of(self, token: int, special: set[int], of_bytes: bool) -> bytes:
        piece = self._tokenizer.id_to_token(token)
        if token == self._unknown:
            return "\ufffd".encode()
        if piece is None:
            raise ManifestError(f"tokenizer: expected the tokens 0 … {self.vocabulary_size - 1}, has no {token}")
        if token in special:
            return b""
        if not of_bytes:
            return piece.encode("utf-8")
        try:
            return bytes(_BYTE_OF[character] for character in piece)
        except KeyError as error:
            raise ManifestError(f"tokenizer: token {token} ({piece!r}) is not written in bytes") from error


class StreamDecoder:
    """Turns tokens into text as they arrive, holding back bytes until their character is complete.

    The pieces joined, the flush included, are what `Tokenizer.decode` gives for all tokens at once.
    """

    def __init__(self, tokenizer: Tokenizer, pending: bytes = b"") -> None:
        """Go on where another decoder stood whose `pending` bytes are given."""
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.setstate((pending, 0))

    @property
    def pending(self) -> bytes:
        """The bytes of a character begun and not yet complete."""
        return self._decoder.getstate()[0]

    def feed(self, tokens: Iterable[int]) -> str:
        """The text that is certain after these tokens; may be empty."""
        return self._decoder.decode(b"".join(self._tokenizer.token_bytes(token) for token in tokens))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was cut, or nothing."""
        return self._decoder.decode(b"", final=True)


def _code_points(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text)


def byte_alphabet() -> dict[str, int]:
    """The character each byte is written as in byte-level vocabularies: itself where it shows, else one from 256 on.

    The table of GPT-2 (Radford et al. 2019), as the tokenizers library has it.
    """
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_BYTE_OF = byte_alphabet()
