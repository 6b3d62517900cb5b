"""The devices that tests of device memory run on: the CPU provider everywhere, CUDA where it loads."""

from __future__ import annotations

import pytest

from service.models.device import Device, why_cuda_cannot_load

HAS_CUDA = why_cuda_cannot_load() is None

needs_cuda = [pytest.mark.cuda, pytest.mark.skipif(not HAS_CUDA, reason="no CUDA here")]

DEVICES = [
    pytest.param(Device("cpu"), id="cpu"),
    pytest.param(Device("cuda"), id="cuda", marks=needs_cuda),
]
