"""Where a study lives: SQLite on a local disk, a journal on a shared file system, PostgreSQL for many machines; and the leases on its trials."""

from dynrnn.study.storage.leases import Lease, Leases
from dynrnn.study.storage.opening import StudyStorage, open_storage

__all__ = ["Lease", "Leases", "StudyStorage", "open_storage"]
