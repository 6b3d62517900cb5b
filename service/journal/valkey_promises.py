"""What a Valkey server is set to keep: said once in the log where it is less than a journal's answers promise."""

from __future__ import annotations

from collections.abc import Sequence


def weaknesses(reply: Sequence[bytes]) -> list[str]:
    """In what ways a server may lose what it has acknowledged, by its answer to CONFIG GET."""
    settings = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
    found = []
    if settings.get("appendonly") == "no":
        found.append("keeps nothing of the last minutes when it ends: set appendonly yes")
    elif settings.get("appendfsync") in ("everysec", "no"):
        found.append(f"may lose the last moments when its machine fails (appendfsync {settings['appendfsync']})")
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy", "noeviction") != "noeviction":
        found.append(f"throws sessions away when its memory is full (maxmemory-policy {settings['maxmemory-policy']})")
    return found
