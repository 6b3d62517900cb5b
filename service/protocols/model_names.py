"""How clients name a model in one text."""

from __future__ import annotations

from service.errors import ModelNotFound
from service.models.model import Model
from service.models.repository import Repository


def find_model(repository: Repository, reference: str) -> Model:
    """The model meant by `name` (its newest version) or `name/version`.

    Raises:
        ModelNotFound: there is none.
    """
    name, _, version = reference.partition("/")
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10):
        raise ModelNotFound(f"model: expected a name or name/version, got {reference[:140]!r}", parameter="model")
    return repository.get(name, int(version) if version else None)
