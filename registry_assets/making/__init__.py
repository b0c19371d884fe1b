"""Bringing outputs up to date, one or many at once, without Dagster.

unit.py      one unit: a collection, an import, or one item of a stage
batch.py     many units in one batch, stages in parallel
planning.py  which units to make for a request, and in which order
progress.py  messages about progress
"""
