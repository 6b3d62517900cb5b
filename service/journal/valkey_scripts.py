"""What a Valkey server does with one session in one step: scripts, each on a single key.

A session is one string: its place (epoch and position, what a compare-and-set compares), when it expires, its lineage
(the tokens of its last commits, newest first), and the stored entry.

    0   16  place      24  64  lineage: 8 tokens of 8 bytes, zeros where there were fewer
    16  8   expires    88  …   the entry as service.journal.stored packs it

The place and the expiry in the entry are those of its commit; the ones in front of it may have changed since.
"""

from __future__ import annotations

import hashlib
import secrets
from struct import Struct

HEAD = Struct("<qqd")
"""Epoch, position, expires."""
ENTRY_AT = 88

REFUSED, STORED = 0, 1


class Script:
    """A script's text and the name the server knows it by."""

    def __init__(self, text: str) -> None:
        self.text = text.strip().encode()
        self.name = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


COMMIT = Script(r"""
-- place expected ('' none, '*' any), token, place and expires, entry, milliseconds to live ('' for ever)
local head = redis.call('GETRANGE', KEYS[1], 0, 87)
if ARGV[1] == '' then
  if head ~= '' then return 0 end
elseif ARGV[1] ~= '*' and string.sub(head, 1, 16) ~= ARGV[1] then
  return 0
end
local lineage = ''
if string.sub(head, 1, 8) == string.sub(ARGV[3], 1, 8) then lineage = string.sub(head, 25, 80) end
local value = ARGV[3] .. ARGV[2] .. lineage .. string.rep('\0', 56 - #lineage) .. ARGV[4]
if ARGV[5] == '' then
  redis.call('SET', KEYS[1], value)
else
  redis.call('SET', KEYS[1], value, 'PX', ARGV[5])
end
return 1
""")
"""Answers STORED or REFUSED."""

SETTLE = Script(r"""
-- place expected before the commit ('' none), the commit's token, another epoch
local head = redis.call('GETRANGE', KEYS[1], 0, 87)
for at = 25, 81, 8 do
  if string.sub(head, at, at + 7) == ARGV[2] then
    redis.call('SETRANGE', KEYS[1], 0, string.sub(head, 1, 8))
    return 1
  end
end
if ARGV[1] == '' or ARGV[1] == '*' then return 2 end
if head == '' then return 0 end
if string.sub(head, 1, 16) == ARGV[1] then
  redis.call('SETRANGE', KEYS[1], 0, ARGV[3])
  return 0
end
if string.sub(head, 81, 88) == string.rep('\0', 8) then return 0 end
return 2
""")
"""Finds out what became of a commit that was sent and not answered, and sees to it that it cannot arrive later.

Answers STORED if the commit's token is in the lineage (and writes, so that WAIT has something to wait for). REFUSED
if it was not carried out and never will be: the session was closed, or has moved, or is given another epoch here,
which the commit does not expect. Something else where too much has happened since, or an opening may still arrive.
"""

EXTEND = Script(r"""
-- expires, milliseconds to live
local expires = redis.call('GETRANGE', KEYS[1], 16, 23)
if expires == '' or struct.unpack('<d', expires) >= struct.unpack('<d', ARGV[1]) then return 0 end
redis.call('SETRANGE', KEYS[1], 16, ARGV[1])
if ARGV[2] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
""")
"""Lets a session live until then, if that is later than now."""


CONFIRM = Script(r"""
local value = redis.call('GET', KEYS[1])
if value then redis.call('SETRANGE', KEYS[1], 0, string.sub(value, 1, 8)) end
return value
""")
"""Answers what is stored, and writes it again, so that WAIT can tell whether the copies have it."""


def draw_token() -> bytes:
    """What tells one commit from all others."""
    return secrets.token_bytes(8)
