"""The networks, each with `forward(inputs, state) -> (outputs, state)`: the signature its graph has."""
