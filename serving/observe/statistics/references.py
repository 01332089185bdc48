"""What the windows of all versions are held against, within the memory that the book has for it."""

from __future__ import annotations

import threading

from serving.events import log
from serving.observe.figures import Key
from serving.observe.statistics.book import Book
from serving.observe.statistics.known import Known
from serving.observe.statistics.reference import NO_EFFECT, Kept, keep


class References:
    """``lock``: the book's. From any thread that does not hold it: files are read."""

    def __init__(self, book: Book, lock: threading.Lock, known: Known) -> None:
        self._book, self._lock, self._known = book, lock, known

    def of(self, key: Key) -> Kept:
        """Read when first asked for, and again where a file is another than before. Nothing where
        there are no files, and of a version that is gone."""
        version = self._known.version(key)
        if version is None:
            with self._lock:
                self._book.drop_reference(key)
            return Kept()
        with self._lock:
            known = self._book.reference(key)
            room = self._book.room_for_reference(key)
        anew = known is not None and 0 < known.left_out <= room - known.nbytes
        whole = keep(key, version, self._known.features(key), known, anew=anew)
        if whole is None or whole is known:
            return whole or Kept()
        with self._lock:
            found = whole.within(self._book.room_for_reference(key))
            self._book.put_reference(key, found)
        lacking = found.lacks(whole)
        if lacking and (known is None or known.stamps != found.stamps):
            self._tell(key, lacking, found.left_out)
        return found

    def _tell(self, key: Key, lacking: list[str], more: int) -> None:
        log.warning(
            "statistics_reference_left_out",
            model=key[0],
            version=key[1],
            what=", ".join(lacking),
            bytes=more,
            limit=self._book.most_reference_bytes,
            effect=f"{NO_EFFECT}, until there is room for it (setting statistics.memory_bytes)",
        )
