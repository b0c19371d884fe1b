"""The contents that a registry records: no others are served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Lock

from registry_assets.dvc_repo import Listings


class RecordedContents:
    """The md5s of the files in some versions; their listings are read as they are needed.

    Args:
        listings: Reads the listings.
        versions: The versions, the most likely ones first.
    """

    def __init__(self, listings: Listings, versions: Iterable[str]) -> None:
        self._listings = listings
        self._lock = Lock()
        self._contents: set[str] = set()
        self._known: set[str] = set()
        self._unread: deque[str] = deque()
        self.add(versions)

    def add(self, versions: Iterable[str]) -> None:
        """Add more versions, such as earlier ones that somebody compares."""
        with self._lock:
            fresh = [version for version in versions if version not in self._known]
            self._known.update(fresh)
            self._unread.extend(fresh)

    def __contains__(self, md5: object) -> bool:
        with self._lock:
            for _ in range(len(self._unread)):
                if md5 in self._contents:
                    return True
                version = self._unread.popleft()
                contents = self._listings.contents(version)
                if contents is None:
                    # It may be fetched later.
                    self._unread.append(version)
                else:
                    self._contents |= contents
            return md5 in self._contents
