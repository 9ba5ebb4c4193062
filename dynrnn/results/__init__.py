"""Results on disk: the schema, and the only reader and writer of zarr and of bundles."""

from dynrnn.results.blocks import BlockWriter, open_blocks
from dynrnn.results.bundle import read_bundle, read_manifest, write_bundle
from dynrnn.results.run_folder import RunFolder
from dynrnn.results.schema import check_schema, data_fingerprint, stamp
from dynrnn.results.store import read_results, write_group, write_results, write_root_attrs

__all__ = [
    "BlockWriter",
    "RunFolder",
    "check_schema",
    "data_fingerprint",
    "open_blocks",
    "read_bundle",
    "read_manifest",
    "read_results",
    "stamp",
    "write_bundle",
    "write_group",
    "write_results",
    "write_root_attrs",
]
