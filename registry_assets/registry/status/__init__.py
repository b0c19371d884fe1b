"""What is up to date and what is not.

values.py         what is up to date, as values
report.py         saying so, to people and to programs
reading.py        finding it out: `dvc status`, plus what that does not look at
last_status.py    the last answer, kept for as long as nothing is written
check_results.py  the same for each asset, as its checks say it
arrivals.py       what stands in the raw folder before DVC knows it
archive_names.py  which files are archives, by their names
staging.py        where a collection is gathered before it stands in the raw folder
edits.py          collections that were edited after they were registered
imports.py        imports that are behind their sources
"""
