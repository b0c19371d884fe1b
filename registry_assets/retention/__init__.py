"""Taking a picture out of everything, and freeing what the cache need not keep.

planning.py          what forgetting a picture comes to; taking it out
occurrences.py       where a content stands, and all that was made of it, in every version
remaining_copies.py  what is left of it, and where
purging.py           removing that, too
report.py            saying so
disk_use.py          what the cache holds, and what nothing needs
originals.py         what of that could not be had again
disk_use_report.py   saying so
"""
