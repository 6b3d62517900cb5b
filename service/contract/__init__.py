"""What training writes and the service reads: the manifest, the state row, time and calendar.

Imports nothing of ours, and of others only pydantic, numpy and the standard library, so that
loading the contract loads neither a server nor a training framework.
"""
