"""The two ways in which a trained network looks several steps ahead, and what holds for both.

An *ancestral* one tells the next step and is fed its own samples; a *direct* one tells the whole horizon at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from training.networks.ensemble import AnyForecaster, Ensemble, members_of
from training.networks.forecaster import Forecaster
from training.networks.segment_ensemble import AnySegmentForecaster, SegmentEnsemble, segment_members_of
from training.networks.segment_forecaster import SegmentForecaster

Decoder = Literal["ancestral", "direct"]
Member = Forecaster | SegmentForecaster
AnyDecoder = AnyForecaster | AnySegmentForecaster


def decoder_of(network: AnyDecoder) -> Decoder:
    """Which of the two a network is."""
    return "direct" if isinstance(network, AnySegmentForecaster) else "ancestral"


def parts_of(network: AnyDecoder) -> Sequence[Member]:
    """The members that a network is made of: itself, where it is one alone."""
    return segment_members_of(network) if isinstance(network, AnySegmentForecaster) else members_of(network)


def together(members: Sequence[Member]) -> AnyDecoder:
    """Members of one kind as one network: the only one itself."""
    if len(members) == 1:
        return members[0]
    if isinstance(members[0], SegmentForecaster):
        return SegmentEnsemble(cast(Sequence[SegmentForecaster], members))
    return Ensemble(cast(Sequence[Forecaster], members))
