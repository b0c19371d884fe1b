"""The program that Git merges metafiles with, under the name that Git configurations hold.

``python -m registry_assets.merge_driver %O %A %B %P``; see `revisions.changes.merge_driver`.
"""

from __future__ import annotations

import sys

from registry_assets.revisions.changes.merge_driver import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
