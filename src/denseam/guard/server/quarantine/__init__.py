"""The quarantine: inputs that were set aside, kept for review.

    answer <- Spool (a journal on the disk) -> Keeper, in the background -> Store (a database)

An item is in the journal, and on the disk, before the answer that names it is sent. It leaves the
journal after the database has committed it. So a server that is killed loses nothing, and a
database that is locked, full or away holds up no request. An item that is moved twice is there
once.
"""

from denseam.guard.server.quarantine.items import Item, items_of
from denseam.guard.server.quarantine.keeper import Keeper
from denseam.guard.server.quarantine.spool import Spool
from denseam.guard.server.quarantine.store import DatabaseAwayError, Store

__all__ = ["DatabaseAwayError", "Item", "Keeper", "Spool", "Store", "items_of"]
