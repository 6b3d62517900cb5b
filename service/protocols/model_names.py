"""How clients name a model in one text."""

from __future__ import annotations

from service.errors import InputMismatch, ModelNotFound
from service.models.model import Model
from service.models.repository import Repository


def find_model(repository: Repository, reference: str) -> Model:
    """The model meant by `name` (its newest version) or `name/version`.

    Raises:
        ModelNotFound: there is none.
    """
    return repository.get(*name_and_version(reference))


def name_and_version(reference: str, version: int | None = None) -> tuple[str, int | None]:
    """The two parts of `name` or `name/version`; the version may also stand beside.

    Raises:
        ModelNotFound: it is neither.
        InputMismatch: two versions are named.
    """
    name, slash, text = reference.partition("/")
    if slash and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ModelNotFound(f"model: expected a name or name/version, got {reference[:140]!r}", parameter="model")
    if not slash:
        return name, version
    if version not in (None, int(text)):
        raise InputMismatch(
            f"version: expected {text} as in model, or only one of them, got {version}", parameter="version"
        )
    return name, int(text)
