"""Versions of the registry and of its data sets: `registry diff`, `checkout`, `tag`, `versions`.

diffing.py           comparing two versions
run_reasons.py       changed parameters, code and commands of stages
diff_report.py       a comparison as text and as JSON
checking_out.py      checking out a commit with its data
dataset_versions.py  the versions of data sets
tagging.py           creating a version
version_report.py    versions as text, as JSON and as tag messages
"""
