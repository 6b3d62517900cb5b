"""How gradients travel through time in a trained network: measured, told in one sentence, drawn.

subject ──▶ gradient_reach · truncation_bias · gate_saturation · gradient_norms ──▶ verdict ──▶ table, figure
fit ──────▶ monitor ──▶ TensorBoard
"""
