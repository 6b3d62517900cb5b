"""Fuzzing: whatever bytes come in at any of the doors, the service answers or refuses, and goes on as before."""
