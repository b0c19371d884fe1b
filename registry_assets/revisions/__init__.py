"""The registry at several commits.

changes/     what commits hold, how two of them differ, merging and committing
versions/    `registry diff`, `checkout`, `tag` and `versions`
publishing/  `registry publish` and `resolve`
"""
