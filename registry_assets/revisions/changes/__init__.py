"""What commits hold of a registry, how two of them differ, and making one.

metafile_entries.py  what single entries of metafiles record, from their text
committing.py        which files the registry writes, and commits of those and nothing else
merging.py           three versions of a metafile merged by entry
merge_driver.py      the program with which Git does that
metafile_history.py  which commit recorded a version
version_history.py   every version that any commit recorded, and what keeps it
revisions.py         what people name versions of the registry by
snapshots.py         a registry as a commit has it
families.py          where a path stands: family, data set, class
image_changes.py     what became of files between two versions, as values
reading.py           finding that out
report.py            saying so
"""
