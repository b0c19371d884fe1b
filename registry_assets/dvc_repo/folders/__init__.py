"""Folders of many files, hashed, put into the cache and linked out of it.

Formats and results are those of DVC; its own way through them goes over an object and several
look-ups for each file, three times. What is not plain is left to it.

threads.py    many small files in a few threads
ignoring.py   what DVC ignores, asked once for a folder
state.py      DVC's state, asked and told about many files at once
remembered.py what was hashed while a repository is open
hashing.py    what stands in a folder, hashed
comparing.py  what is recorded held against that and the cache, as `dvc status` does
verifying.py  whether objects hold what their names say
links.py      the kinds of links between workspace and cache
storing.py    into the cache, as `dvc add` and `dvc commit`
linking.py    out of it, as `dvc checkout`
copying.py    between it and a remote that is a folder
"""
