"""What is up to date, and whether everybody says the same of it.

values.py      what is up to date, as values
reading.py     finding it out
last_look.py   the last answer, kept for as long as nothing is written
judging.py     what the asset checks say
comparison.py  metafiles, graph, event log and cache compared
"""
