"""How well a model does, beside honest baselines."""
