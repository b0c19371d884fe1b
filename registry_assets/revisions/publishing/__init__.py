"""Publishing metafiles on a branch of their own, after their data.

publication.py    what is published, as values
planning.py       finding that out
made_with.py      the edited files that go along, as results were made with them
report.py         what it changes, in numbers
pushing.py        doing it: data, commit, branch
pull_requests.py  opening a pull request, whoever can
forges.py         which forge keeps the repository
forge_api.py      its interface, with a token
resolving.py      what a merge left of metafiles
"""
