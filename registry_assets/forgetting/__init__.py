"""Taking a picture out of everything, and freeing what the cache need not keep.

descent.py          where a content stands, and all that was made of it, in every version
planning.py         what forgetting it comes to; taking it out
remains.py          what is left of it, and where
purging.py          removing that, too
sheet_history.py    contact sheets in Dagster's history
report.py           saying so
disk_use.py         what the cache holds, and what nothing needs
originals.py        what of that could not be had again
disk_use_report.py  saying so
"""
