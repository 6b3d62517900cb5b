from __future__ import annotations

import numpy as np
import pytest

from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition, digest_of

VALUES = np.array([1, 2, np.nan], np.float32)


def test_the_same_content_has_the_same_digest() -> None:
    one = digest_of("observe", values=VALUES, covariates={"wind": VALUES, "sun": VALUES})
    two = digest_of("observe", covariates={"sun": VALUES.copy(), "wind": VALUES.copy()}, values=VALUES.copy())
    assert one == two


def test_a_view_counts_by_its_values() -> None:
    wide = np.stack([VALUES, VALUES + 1], axis=1)
    assert digest_of("observe", values=wide[:, 0]) == digest_of("observe", values=VALUES)


@pytest.mark.parametrize(
    "other",
    [
        digest_of("generate", values=VALUES, covariates=None),
        digest_of("observe", values=VALUES[:2], covariates=None),
        digest_of("observe", values=np.array([1, 2, 3], np.float32), covariates=None),
        digest_of("observe", values=VALUES.astype(np.float64), covariates=None),
        digest_of("observe", values=VALUES[np.newaxis], covariates=None),
        digest_of("observe", values=VALUES, covariates={"wind": VALUES}),
        digest_of("observe", values=VALUES, covariates=None, timestamps=None),
    ],
)
def test_other_content_has_another_digest(other: bytes) -> None:
    assert digest_of("observe", values=VALUES, covariates=None) != other


def test_covariates_count_by_name() -> None:
    assert digest_of("observe", c={"wind": VALUES}) != digest_of("observe", c={"sun": VALUES})
    swapped = {"wind": VALUES, "sun": VALUES + 1}, {"sun": VALUES, "wind": VALUES + 1}
    assert digest_of("observe", c=swapped[0]) != digest_of("observe", c=swapped[1])


def test_a_minus_zero_and_a_zero_are_told_apart_as_their_bytes_are() -> None:
    assert digest_of("observe", v=np.array([0.0], np.float32)) != digest_of("observe", v=np.array([-0.0], np.float32))


def test_a_transition_ends_where_it_began_plus_what_it_took() -> None:
    assert Transition(5, 3, None, b"", {}, complete=True).position == 8


def test_a_client_need_not_expect_anything() -> None:
    assert Expected() == NOTHING_EXPECTED == Expected(position=None, key=None)
