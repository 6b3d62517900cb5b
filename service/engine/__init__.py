"""The step scheduler: knows rows and runs, and no clients."""
