"""Metafiles at a commit, differences between two commits, merging and committing.

metafile_entries.py  parsing single entries of metafiles
committing.py        commits of the files that the registry writes, and nothing else
merging.py           three-way merge of metafiles, entry by entry
merge_driver.py      the Git merge driver that does that
metafile_history.py  which commit recorded a version
version_history.py   every version that any commit recorded, and which refs still have it
revisions.py         names of versions of the registry: commits, branches, tags
snapshots.py         the registry at a commit
families.py          the family, data set and role of a path
image_changes.py     changed files between two versions, as values
reading.py           reading those changes
report.py            describing them
"""
