"""Setting up a registry, and adding folders and archives to it.

initialising.py   `registry init`: creating a registry, or adapting one to this machine
cloning.py        `registry clone`: cloning a registry and making it work on this machine
datasets.py       `registry new`: creating a data set from a template, or like another one
adding.py         `registry add`: finding the folder or archive to add
copying.py        copying or linking a folder from elsewhere, verified and resumable
archives.py       turning archives into collections
unpacking.py      unpacking archives safely
next_steps.py     the next step after data came in, in words
setting_aside.py  moving files that DVC cannot or should not store out of a collection
"""
