"""Text drawn from a text generator in PyTorch, for the model card; the service draws with its graphs."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer

from training.networks.text_generator import TextGenerator


@torch.no_grad()
def sample_text(
    network: TextGenerator,
    tokenizer: Tokenizer,
    prompt: list[int],
    length: int,
    temperature: float,
    seed: int,
    unknown_token: int | None = None,
) -> str:
    """`length` tokens that follow a prompt, as text; the unknown token is never drawn.

    Args:
        prompt: at least one token; a start token alone leaves the network free.
    """
    network.eval()
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    state = network.recurrence.initial_state(1)
    inputs, drawn = torch.tensor([prompt], device=device), list[int]()
    for _ in range(length):
        logits, state = network(inputs, state)
        last = logits[0, -1].float().cpu() / max(temperature, 1e-6)
        if unknown_token is not None:
            last[unknown_token] = -torch.inf
        token = int(torch.multinomial(last.softmax(-1), 1, generator=generator))
        drawn.append(token)
        inputs = torch.tensor([[token]], device=device)
    text: str = tokenizer.decode(drawn)
    return text
