"""Forgetting pictures, and freeing space in the cache.

planning.py          planning what to remove and rerun; removing a picture from collections
occurrences.py       a picture and everything derived from it, in all versions
remaining_copies.py  the copies that are left
purging.py           removing those, too
report.py            all this as text and as JSON
disk_use.py          the contents of the cache, and what is not needed
other_clones.py      the needs of other clones that use the same cache
originals.py         unneeded objects that could not be recovered
disk_use_report.py   disk use as text and as JSON
"""
