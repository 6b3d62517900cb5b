from __future__ import annotations

import pytest

from tests.service.protocols.hot.noting import Noted


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    return Noted(monkeypatch)
