"""Shorter formats are used where they work, and refused where they do not."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.errors import TrainingError  # noqa: E402
from training.precision import MixedPrecision  # noqa: E402

CPU = torch.device("cpu")


def test_float16_is_refused_on_a_cpu() -> None:
    with pytest.raises(TrainingError, match="expected a CUDA device, got cpu; use bfloat16"):
        MixedPrecision("float16", CPU)


@pytest.mark.parametrize(("name", "format"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_use_the_format_and_weights_stay_float32(name: str, format: object) -> None:
    precision, network = MixedPrecision(name, CPU), torch.nn.Linear(2, 2)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with precision.autocast():
        outputs = network(torch.ones(1, 2))
    assert outputs.dtype == format
    precision.backward(outputs.float().sum(), optimizer)
    before = network.bias.clone()
    precision.step(optimizer)
    torch.testing.assert_close(network.bias, before - 0.1)
    assert network.weight.dtype == torch.float32 and not precision.skips_overflow
    precision.load_state_dict(precision.state_dict())
