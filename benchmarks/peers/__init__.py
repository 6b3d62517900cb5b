"""The other servers, each in an environment of its own, serving the same weights with a state for each session.

Every one is written as its own documentation leads one to write it; where a choice is open, the faster way is taken.
"""

from __future__ import annotations

from benchmarks.peers import bentoml, hand_written, litserve, mlserver, ray_serve, triton
from benchmarks.peers.peer import Peer

_PEERS = (triton, hand_written, mlserver, litserve, bentoml, ray_serve)
PEERS: dict[str, Peer] = {module.PEER.key: module.PEER for module in _PEERS}
