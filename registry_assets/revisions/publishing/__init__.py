"""Publishing metafiles on a branch of their own, after their data.

publication.py    what is published, as values
planning.py       finding that out
made_with.py      the edited files that go along, as results were made with them
report.py         what it changes, in numbers
pushing.py        doing it: data, commit, branch
pull_requests.py  opening a pull request with the program of the forge
forges.py         which forge keeps the repository
resolving.py      what a merge left of metafiles
"""
