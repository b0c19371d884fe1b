"""What comes in: folders, archives and imports, before and after DVC knows them; without Dagster.

arrivals.py    what stands in the raw folder before DVC knows it
adding.py      what `registry add` is asked for
archives.py    archives that become collections
unpacking.py   unpacking them safely
copying.py     a folder from elsewhere, copied or linked
landing.py     where a collection is gathered before it stands in the raw folder
edits.py       collections that were edited after they were registered
imports.py     imports that are behind their sources
following.py   which data sets take a collection in
duplicates.py  pictures that several collections have
"""
