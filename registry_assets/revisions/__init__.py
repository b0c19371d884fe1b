"""The registry across commits.

changes/     metafiles at a commit, differences between two commits, merging and committing
versions/    `registry diff`, `checkout`, `tag` and `versions`
publishing/  `registry publish` and `resolve`
"""
