"""Dagster's history of a registry.

opening.py        opens it, and translates errors of its database
event_storage.py  Dagster's own storage, kept open while a command writes
event_log.py      what it says of outputs
claims.py         whose names and asset keys are whose, where several registries share it
reporting.py      telling it what changed outside Dagster
"""
