"""What a user of the training commands can get wrong, said so that it can be put right."""

from __future__ import annotations


class TrainingError(Exception):
    """A mistake in settings, data or files; the commands print its message without a trace."""
