"""The per-step routes below ASGI: a request of theirs goes from the socket to the engine and back with no coroutine.

Only what is plain takes this way: a whole request with simple headers, for a session nobody else is at. Everything
else, and whatever is wrong, is left to the application, untouched, so that there is one place that refuses and one
that waits. For what it does take, an answer has the same bytes as the application's.
"""
