"""A PostgreSQL server of one's own on a loopback socket, from the binaries of the package pgserver or of the distribution."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any


class PostgresServer:
    """Runs while it is used as a context; ``url`` carries the password. Under root it runs as ``nobody``, since PostgreSQL refuses root."""

    def __init__(self) -> None:
        self.password = "canary" + secrets.token_hex(8)
        self.folder = Path(tempfile.mkdtemp(prefix="dynrnn-pg-"))
        self.folder.chmod(0o755)
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._bin = self._binaries()
        self._data = self.folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://dynrnn:{self.password}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> PostgresServer:
        secret = self.folder / "secret"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self._run("initdb", "-D", self._data, "-U", "dynrnn", "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "--no-sync")
        secret.unlink()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder, "max_connections": 60, "fsync": "off"}
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with open(self.folder / "log", "ab") as log:
            command = [str(self._bin / "postgres"), "-D", str(self._data), *settings]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=self._environment(), **self._as)
        for _ in range(300):
            with contextlib.suppress(OSError, IndexError):
                if (self._data / "postmaster.pid").read_text().split("\n")[7].strip() == "ready":
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown, connections are cut; SIGQUIT: as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _binaries(self) -> Path:
        places = []
        found = importlib.util.find_spec("pgserver")
        if found is not None and found.submodule_search_locations:
            places.append(Path(found.submodule_search_locations[0]) / "pginstall" / "bin")
        system = shutil.which("postgres")
        if system is not None:
            places.append(Path(system).resolve().parent)
        places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        for place in places:
            if self._runs(place):
                return place
        # An environment below root's home is closed to ``nobody``: a copy is not.
        for place in places:
            copy = self.folder / "install"
            shutil.copytree(place.parent, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
            if self._runs(copy / place.name):
                return copy / place.name
            shutil.rmtree(copy)
        raise RuntimeError("no PostgreSQL was found: pip install -e '.[dev]' brings pgserver, or install the distribution's postgresql.")

    def _runs(self, place: Path) -> bool:
        try:
            return self._run(place / "initdb", "--version", check=False).returncode == 0
        except OSError:
            return False

    def _run(self, program: str | Path, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self._bin / program if isinstance(program, str) else program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=self._environment(), timeout=120, **self._as)
        if check and done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
        return done

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "HOME": str(self.folder), "TZ": "UTC"}
