"""Where the stack keeps its things, the locks on them, and free ports.

Two folders, both ignored by git and both movable by environment:

* ``.stack`` (``CDC_STACK_DIR``): the servers' data, ports, logs, pid files, ``env``. Deleting
  it loses data but no download.
* ``.cache`` (``CDC_CACHE``): what was downloaded and unpacked. Several stacks may share it.

Ports are taken from below the range the kernel gives to outgoing connections. A port in that
range can be taken by any client while its server is dead; a client that reconnects to the dead
server in a loop can even connect to itself and hold the port for good.
"""

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from infra.stack.tools import StackError

REPOSITORY = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"

_LOWEST_PORT = 15000
_SOCKET_PATH_LIMIT = 100  # the kernel takes 107 bytes, and MySQL adds ".lock"


@dataclass(frozen=True, slots=True)
class Places:
    """The two folders."""

    stack: Path
    cache: Path

    @classmethod
    def from_environment(cls) -> "Places":
        """Return the repository's folders, or those the environment names."""
        stack = os.environ.get("CDC_STACK_DIR") or REPOSITORY / ".stack"
        cache = os.environ.get("CDC_CACHE") or REPOSITORY / ".cache"
        return cls(Path(stack).absolute(), Path(cache).absolute())

    @property
    def pids(self) -> Path:
        """The folder of the shared servers' pid files."""
        return self.stack / "pids"

    @property
    def extra(self) -> Path:
        """The folder of the servers that tests start for themselves."""
        return self.stack / "extra"

    @property
    def env(self) -> Path:
        """The file that tells tests where the servers are."""
        return self.stack / "env"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes and threads; it ends with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name + ".", delete=False) as file:
        file.write(text)
    # a temporary file is readable by its owner only; this one is for everybody on the machine
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def socket_path(home: Path) -> Path:
    """Return where a server's socket goes: in its folder, or somewhere short if that path is too long."""
    path = home / "sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        return path
    return Path(tempfile.gettempdir()) / f"cdc-{sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def is_free(port: int) -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def await_free(port: int, *, seconds: float) -> bool:
    """Wait until a port is free."""
    end = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def choose_ports(count: int) -> list[int]:
    """Return free ports that no outgoing connection is given by chance."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = list(range(_LOWEST_PORT, low)) or list(range(1024, 65536))
    random.shuffle(candidates)
    ports: list[int] = []
    for port in candidates:
        if is_free(port):
            ports.append(port)
            if len(ports) == count:
                return ports
    raise StackError("no free ports on 127.0.0.1", "end some servers on this machine")
