"""Folders of many files: hashed, put into the cache and linked out of it.

Formats and results are the same as DVC's, which is slower: it makes an object and several look-ups
for each file, three times. DVC handles folders that are not plain, such as those with links.

many_files.py reading, linking and copying many small files
ignoring.py   DVC's ignore rules, evaluated once per folder
scanning.py   names and status of everything in a folder
state.py      batch access to DVC's state database
remembered.py hashes found while a repository is open
hashing.py    hashing the files of a folder
comparing.py  comparing outputs with cache and workspace, as `dvc status`
verifying.py  finding damaged objects
dangling.py   links to objects that the cache lacks
links.py      the types of links between workspace and cache
storing.py    putting outputs into the cache, as `dvc add` and `dvc commit`
linking.py    linking outputs from the cache, as `dvc checkout`
handing_out.py  linking objects to places outside the registry
copying.py    copying objects between the cache and a folder remote
"""
