"""The folder of one run: config.json, checkpoints/, results.zarr, report.html, and who may write in it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynrnn.errors import ArgumentError, FileFormatError, RunFolderError
from dynrnn.results._files import dump_json, json_value, read_json, replace_file, writing
from dynrnn.results.bundle import library_versions

KIND = "dynrnn-run"
FORMAT_VERSION = 1


class RunFolder:
    """Paths of a run and its configuration; ``create`` makes a new one, ``open`` takes an existing one.

    >>> import tempfile
    >>> folder = RunFolder.create(tempfile.mkdtemp() + "/lorenz", {"model": "alrnn", "latent_dim": 20})
    >>> RunFolder.open(folder.path).config["latent_dim"]
    20
    >>> folder.results.name, folder.checkpoints.name, folder.report.name
    ('results.zarr', 'checkpoints', 'report.html')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"a run's folder is a path, the one that was passed as out= to the fit (run.path), got a {type(path).__name__}.")
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> RunFolder:
        """A new folder with its ``config.json``; RunFolderError if ``path`` exists and is not empty, or cannot be written."""
        folder = cls(path)
        if folder.path.exists():
            if not folder.path.is_dir():
                raise RunFolderError(f"{folder.path} is a file. Give the name of a new folder as out=.")
            # what a process killed within this very function leaves behind is no run
            if any(not item.name.startswith(".config.json.") for item in folder.path.iterdir()):
                if folder.config_path.is_file():
                    raise RunFolderError(f"{folder.path} is in use: it holds a run. Give another out=, resume that run, or delete it.")
                raise RunFolderError(f"{folder.path} is in use: it holds other files. Give a new folder as out=.")
        with writing(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_config(config or {})
            folder.checkpoints.mkdir(exist_ok=True)
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """An existing run; FileFormatError for a missing folder, one without a run, or a damaged ``config.json``."""
        folder = cls(path)
        if not folder.path.is_dir():
            raise FileFormatError(f"{folder.path} is not a folder. Give the folder that was passed as out= to the fit.")
        if not folder.config_path.exists():
            raise FileFormatError(f"{folder.path} holds no run of dynrnn (no config.json). Give the folder that a fit got as out=.")
        _ = folder._document()
        return folder

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def results(self) -> Path:
        return self.path / "results.zarr"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, read afresh."""
        return self._document()["config"]

    @property
    def libraries(self) -> dict[str, Any]:
        """Versions of the libraries that the run was started with."""
        found = self._document().get("libraries")
        return found if isinstance(found, dict) else {}

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace ``config.json`` in one step."""
        document = {
            "format": KIND,
            "format_version": FORMAT_VERSION,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "libraries": library_versions(),
            "config": json_value(dict(config), "config"),
        }
        replace_file(self.config_path, dump_json(document))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against other writers on this machine; RunFolderError if one has it. A process that dies lets go."""
        with writing(self.path):
            stream = open(self.path / ".lock", "a")  # noqa: SIM115 - held until the block ends
        try:
            try:
                import fcntl

                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:
                pass
            except OSError:
                raise RunFolderError(
                    f"{self.path} is in use: another process writes to it. Wait for it to end, or give another out=."
                ) from None
            yield
        finally:
            stream.close()

    def _document(self) -> dict[str, Any]:
        document = read_json(self.config_path)
        if document.get("format") != KIND or not isinstance(document.get("config"), dict):
            raise FileFormatError(f"{self.config_path} is not the configuration of a dynrnn run. Give the folder that a fit wrote.")
        if document.get("format_version") != FORMAT_VERSION:
            raise FileFormatError(
                f"{self.config_path} has format version {document.get('format_version')!r}, this dynrnn reads {FORMAT_VERSION}. "
                "Install the version that wrote it."
            )
        return document
