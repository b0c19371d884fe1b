"""Where a file came from, where it went, and which models were trained on it.

finding.py       tracing one file, given by path or content
report.py        a trace as text and as JSON
origin_table.py  the table of origins shown in the UI
models/          models and the data they were trained on
"""
