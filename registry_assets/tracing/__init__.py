"""Where a file came from, and where it went.

derivation.py    which file upstream a file came from: the rules
walking.py       following that through the graph
finding.py       one file, by path or content
report.py        saying what was found
origin_table.py  the table of origins that the UI shows
"""
