"""Packages of a Debian suite, unpacked into a folder and run from there.

``apt-get`` runs with sources, lists, cache and package status of its own, so the machine's apt
state is neither used nor changed and no root is needed. From the machine's configuration it takes
what concerns transport (proxies, certificates) and the mirror: the site the machine's own release
comes from. apt checks signatures and hashes of everything.

The programs are started through the loader and the C library that came with them (``command``),
never with the machine's: a server from a newer suite runs on an older system.

In the folder of a ``Suite`` below ``<cache>/debian/``: ``root/`` the unpacked files, ``packages.txt``
name and version of each package, ``apt/`` apt's own things, deleted after success. The folder is
complete when ``packages.txt`` is there: it is written last. A suite that moves (sid) is not asked
again: delete the folder to get its newer packages.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from infra.stack.places import locked
from infra.stack.progress import Board, megabytes_in
from infra.stack.tools import CommandError, StackError, output, require, run, twice

# The resolver is told that these are installed. The servers name them for their maintainer
# scripts only, which are not run here; it saves a third of the download, and a Perl transition
# in sid cannot make a server uninstallable.
_STAND_INS = (
    "adduser",
    "debconf",
    "debianutils",
    "init-system-helpers",
    "libconfig-inifiles-perl",
    "lsb-base",
    "mariadb-common",
    "mysql-common",
    "passwd",
    "perl",
    "perl-base",
)
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_UNWANTED = ("./usr/share/doc*", "./usr/share/man", "./usr/share/locale", "./usr/share/lintian")
# Folders of libraries that a program opens by path; the loader must not search them.
_NOT_SEARCHED = {
    "gconv",
    "plugin",
    "ossl-modules",
    "engines-3",
    "sasl2",
    "security",
    "krb5",
    "audit",
    "perl",
    "perl-base",
}


@dataclass(frozen=True)
class Suite:
    """Packages with all they need, from one Debian suite, unpacked in ``folder``."""

    title: str
    suite: str
    packages: tuple[str, ...]
    folder: Path

    @property
    def root(self) -> Path:
        """The unpacked files."""
        return self.folder / "root"

    @property
    def _complete(self) -> Path:
        return self.folder / "packages.txt"

    def fetch(self, board: Board) -> None:
        """Fetch and unpack, unless that was done before."""
        if self._complete.exists():
            return
        for tool in ("apt-get", "apt-config", "dpkg", "dpkg-deb", "tar"):
            require(tool)
        with locked(self.folder.with_name(self.folder.name + ".lock")):
            if self._complete.exists():
                return
            shutil.rmtree(self.root, ignore_errors=True)
            apt = _PrivateApt(self.folder / "apt", self.suite)
            with board.task(f"{self.title}: fetching from Debian {self.suite}", apt.progress):
                twice(self.title, lambda: apt.download(self.packages), board.say)
            names = self._unpack(apt.archives, board)
            self._complete.write_text("".join(f"{name}\n" for name in names))
            shutil.rmtree(apt.folder)

    def _unpack(self, archives: Path, board: Board) -> list[str]:
        names = []
        debs = sorted(archives.glob("*.deb"))
        size = sum(deb.stat().st_size for deb in debs) / 1e6
        self.root.mkdir(parents=True)
        log = self.folder / "unpack.log"
        with board.task(f"{self.title}: unpacking {len(debs)} packages, {size:.0f} MB"):
            for deb in debs:
                names.append(output(["dpkg-deb", "-W", deb.as_posix()]).strip().replace("\t", " "))
                _extract(deb, self.root, log)
        board.say(f"{self.title}: fetched and unpacked {len(debs)} packages, {size:.1f} MB")
        return names

    @cached_property
    def _loader(self) -> tuple[Path, str]:
        """The loader among the packages, and the folders where it finds libraries."""
        loaders = sorted(self.root.glob("**/ld-linux*.so.*"))
        if not loaders:
            raise StackError(f"{self.title}: no loader among the unpacked packages", f"delete {self.folder}")
        folders = sorted({path.parent for path in self.root.glob("**/*-linux-gnu/**/*.so*")})
        searched = [folder for folder in folders if not _NOT_SEARCHED & set(folder.relative_to(self.root).parts)]
        return loaders[0], ":".join(map(str, searched))

    def command(self, program: str) -> list[str]:
        """Return how a program of the packages is started, for example ``usr/sbin/mysqld``."""
        loader, libraries = self._loader
        return [str(loader), "--inhibit-cache", "--library-path", libraries, str(self.root / program)]

    def environment(self) -> dict[str, str]:
        """Return the environment for programs of the packages: the machine's less what reaches into libraries."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "MYSQL", "MARIADB"))}
        modules = next(self.root.glob("**/ossl-modules"), None)
        return env | {"OPENSSL_CONF": os.devnull} | ({"OPENSSL_MODULES": str(modules)} if modules else {})

    def one(self, pattern: str) -> Path:
        """Return the one unpacked path of a pattern; where packages keep things differs between suites."""
        found = next(iter(sorted(self.root.glob(pattern))), None)
        if found is None:
            raise StackError(f"{self.title}: no {pattern} among the unpacked packages", f"delete {self.folder}")
        return found


def _extract(deb: Path, root: Path, log: Path) -> None:
    excludes = [f"--exclude={pattern}" for pattern in _UNWANTED]
    with (
        log.open("ab") as errors,
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=errors) as archive,
    ):
        done = subprocess.run(
            ["tar", "-x", "-C", root, "--no-same-owner", "--keep-directory-symlink", *excludes],
            stdin=archive.stdout,
            stdout=errors,
            stderr=errors,
            check=False,
        )
    if done.returncode or archive.returncode:
        raise StackError(f"{deb.name} could not be unpacked", f"see {log}; is the disk full?")


class _PrivateApt:
    """An apt-get that has everything of its own in one folder."""

    def __init__(self, folder: Path, suite: str) -> None:
        self.folder = folder
        self.archives = folder / "archives"
        self._suite = suite
        self._config = folder / "apt.conf"
        self._log = folder / "apt.log"
        self._most = 0.0

    def progress(self) -> str:
        # apt deletes what it has unpacked of the lists, and this should not go back
        self._most = max(self._most, megabytes_in(self.archives, self.folder / "lists"))
        return f"{self._most:.0f} MB"

    def download(self, packages: tuple[str, ...]) -> None:
        """Fetch the packages and all they need. What an earlier try got is not fetched again."""
        self._configure()
        env = dict(os.environ) | {"APT_CONFIG": str(self._config), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        # without the option apt answers a failed index with a warning, and the install then with nonsense
        run(["apt-get", "-q", "update", "--error-on=any"], log=self._log, env=env)
        run(["apt-get", "-q", "-y", "--download-only", "install", *packages], log=self._log, env=env)
        if not list(self.archives.glob("*.deb")):
            raise CommandError("apt-get ended well but fetched nothing", f"its output: {self._log}")

    def _configure(self) -> None:
        for part in ("lists/partial", "archives/partial", "state"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        architecture = output(["dpkg", "--print-architecture"]).strip()
        option = "target=Packages" + (f" signed-by={_KEYRING}" if _KEYRING.exists() else "")
        (self.folder / "sources.list").write_text(f"deb [{option}] {_mirror()} {self._suite} main\n")
        (self.folder / "state" / "status").write_text(
            "".join(_stand_in(package, architecture) for package in _STAND_INS)
        )
        self._config.write_text("\n".join([*_transport(), *self._settings(architecture)]) + "\n")

    def _settings(self, architecture: str) -> Iterator[str]:
        for name, value in {
            "Dir::Etc::main": os.devnull,
            "Dir::Etc::parts": os.devnull,
            "Dir::Etc::preferences": os.devnull,
            "Dir::Etc::preferencesparts": os.devnull,
            "Dir::Etc::sourceparts": os.devnull,
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::State": self.folder / "state",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "state" / "status",
            "Dir::Cache": self.folder,
            "Dir::Cache::archives": self.archives,
            "Dir::Log": self.folder,
            "APT::Architecture": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
        }.items():
            yield f'{name} "{value}";'
        yield f'#clear APT::Architectures;\nAPT::Architectures {{ "{architecture}"; }};'
        yield 'Acquire::Languages { "none"; };'


def _stand_in(package: str, architecture: str) -> str:
    # Multi-Arch: allowed, because some ask for perl:any
    return (
        f"Package: {package}\nStatus: install ok installed\nVersion: 9:999\nArchitecture: {architecture}\n"
        "Multi-Arch: allowed\nMaintainer: none\nDescription: stand-in\n\n"
    )


def _transport() -> list[str]:
    return [line for line in output(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::")]


def _mirror() -> str:
    """Return the site of the machine's own release; this fetches nothing, needs no root and no package lists."""
    chosen = os.environ.get("CDC_DEBIAN_MIRROR")
    if chosen:
        return chosen
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    uris = output(["apt-get", "update", "--print-uris"])
    for suite in (own, "stable", "testing", "sid"):
        found = re.search(rf"^'(\S+)/dists/{suite}/InRelease'", uris, re.MULTILINE)
        if found:
            return found[1]
    raise StackError("no Debian mirror in this machine's apt sources", "set CDC_DEBIAN_MIRROR to one you can reach")
