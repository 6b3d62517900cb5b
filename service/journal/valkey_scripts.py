"""What a Valkey server does with sessions in one step: scripts, each on a single key but for that of a commit.

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
-- token; for each key: place expected ('' none, '*' any), milliseconds to live ('' for ever), place and expires, entry
local call, sub = redis.call, string.sub
local token, nothing, answers, at = ARGV[1], string.rep('\0', 56), {}, 2
for number, key in ipairs(KEYS) do
  local expected, live, head = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local stands = call('GETRANGE', key, 0, 87)
  if expected == '*' or sub(stands, 1, 16) == expected then
    local lineage = sub(stands, 1, 8) == sub(head, 1, 8) and sub(stands, 25, 80) or nothing
    -- In one piece: every part of it that is made apart is copied once more.
    local value = head .. token .. lineage .. ARGV[at + 3]
    if live == '' then call('SET', key, value) else call('SET', key, value, 'PX', live) end
    answers[number] = '1'
  else
    answers[number] = '0'
  end
  at = at + 4
end
return table.concat(answers)
""")
"""Answers a digit for each key: STORED or REFUSED. In a cluster the keys must be of one hash slot."""

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
