"""What is up to date and what is not.

values.py         the status as values
report.py         the status as text and as JSON
next_steps.py     what to do about a collection, in words
reading.py        reading the status: `dvc status`, plus what that does not cover
last_status.py    cache of the last status, valid until a file changes
check_results.py  the results of the asset checks
arrivals.py       folders and archives in the raw folder that DVC does not track yet
unknown_names.py  names that somebody typed and that no collection has
archive_names.py  which files are archives, by name
staging.py        the folder in which a collection is assembled before it is moved into place
edits.py          collections that were edited after they were registered
imports.py        imports that are behind their sources
"""
