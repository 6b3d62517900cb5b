from __future__ import annotations

import pytest

from service.errors import InputMismatch, RequestTooLarge
from service.tasks.limits import check_count


@pytest.mark.parametrize("count", [1, 7, 10])
def test_a_count_within_its_bounds_passes(count: int) -> None:
    check_count("steps", count, 10)


def test_a_count_past_its_bound_is_told_with_both_numbers() -> None:
    with pytest.raises(RequestTooLarge, match="steps: expected at most 10, got 11") as refused:
        check_count("steps", 11, 10)
    assert refused.value.parameter == "steps"


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_that_is_too_small_is_told(count: int) -> None:
    with pytest.raises(InputMismatch, match=f"steps: expected at least 1, got {count}"):
        check_count("steps", count, 10)


def test_nothing_at_all_may_be_enough() -> None:
    check_count("prompt", 0, 10, least=0)
