"""Whether a path lies on a file system of the network, where SQLite's locks do not hold."""

from __future__ import annotations

import re
from pathlib import Path

# Names as in the kernel's table of mounts. fuseblk (ntfs-3g) and fuse-overlayfs are local.
NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "ncpfs", "orangefs", "pvfs2", "ocfs2",
    "gfs2", "panfs", "coda", "acfs", "vboxsf", "prl_fs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse",
    "fuse.mount-s3", "fuse.davfs", "fuse.juicefs", "fuse.beegfs", "fuse.moosefs", "fuse.mfs", "fuse.cvmfs2", "fuse.smbnetfs", "fuse.curlftpfs",
    "fuse.seaweedfs",
})  # fmt: skip
MOUNTS = Path("/proc/self/mountinfo")


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds ``path`` (or its nearest existing parent); "" where the system does not tell (no /proc).

    >>> isinstance(filesystem_of(Path("/")), str)
    True
    """
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
        place = path.resolve()
    except (OSError, RuntimeError):
        return ""
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4]))
        # Of two mounts on one point the later one hides the earlier.
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def is_network(kind: str) -> bool:
    """Whether a type of file system is shared over a network.

    >>> is_network("nfs4"), is_network("ext4")
    (True, False)
    """
    return kind in NETWORK
