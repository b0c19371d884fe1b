"""What comes in: a registry set up, folders and archives from elsewhere.

initialising.py   `registry init`: a new registry, or one fitted to this machine
adding.py         what `registry add` is asked for: a name, or a path here or elsewhere
copying.py        a folder from elsewhere, copied or linked, verified and resumable
archives.py       archives that become collections
unpacking.py      unpacking them safely
setting_aside.py  what DVC cannot or should not store, moved out of a collection
"""
