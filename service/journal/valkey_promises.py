"""What a Valkey server is set to keep: said once in the log where it is less than a journal's answers promise."""

from __future__ import annotations

from service.journal.valkey_node import Node, Refused


def weaknesses(node: Node) -> list[str]:
    """In what ways the server may lose what it has acknowledged; nothing where it does not say.

    Raises:
        JournalUnavailable: it does not answer.
    """
    try:
        reply = node.ask(b"CONFIG", b"GET", b"*")
    except Refused:
        # Servers that are rented do not let their customers look.
        return []
    settings = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
    found = []
    if settings.get("appendonly") == "no":
        found.append("keeps nothing of the last minutes when it ends: set appendonly yes")
    elif settings.get("appendfsync") in ("everysec", "no"):
        found.append(f"may lose the last moments when its machine fails (appendfsync {settings['appendfsync']})")
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy", "noeviction") != "noeviction":
        found.append(f"throws sessions away when its memory is full (maxmemory-policy {settings['maxmemory-policy']})")
    return found
