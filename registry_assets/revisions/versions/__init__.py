"""Versions of a registry and of its data sets: compared, brought back, named.

diffing.py           two versions compared
run_reasons.py       what stages were run with, other than before
diff_report.py       saying so
checking_out.py      a commit in the work tree, with its data
dataset_versions.py  the versions of data sets
tagging.py           making one
version_report.py    saying what they are
"""
