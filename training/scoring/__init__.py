"""Whole files scored by a published forecaster: read into streams, run, and written as a table and figures."""
