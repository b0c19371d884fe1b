"""Where a file came from, where it went, and which models were trained on it.

finding.py       one file, by path or content
report.py        saying what was found
origin_table.py  the table of origins that the UI shows
models/          models and the data they were trained on
"""
