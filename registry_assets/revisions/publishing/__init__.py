"""Publishing: pushes data, then metafiles on a branch, and opens a pull request.

publication.py    a publication as values
planning.py       what to publish, and on which branch
made_with.py      uncommitted code and parameters to publish along with results
report.py         a summary of the changes
pushing.py        pushing data, commit and branch
pull_requests.py  opening a pull request with the forge's command line
forges.py         recognising the forge of a remote
resolving.py      resolving merge conflicts of metafiles
"""
