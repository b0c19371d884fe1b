"""Bringing outputs up to date, one or many at once; knows nothing of Dagster.

unit.py      one unit: a collection, an import, or one item of a stage
batch.py     many units in one go, stages side by side
planning.py  which units to make for a request, and in which order
progress.py  messages about progress
"""
