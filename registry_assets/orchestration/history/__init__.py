"""Dagster's history of a registry.

opening.py        opens it, and translates errors of its database
postgres.py       a history in PostgreSQL: its address, and errors of its server
event_storage.py  Dagster's own storage, kept open while a command writes
event_log.py      reads the newest materializations of outputs
newest_events.py  those of whole assets, and a cache of what was read of them
claims.py         which registry owns which names and asset keys, if several share it
reporting.py      reports what changed outside Dagster
"""
