"""Client sessions: their position and order, and the store that alone decides about their life."""
