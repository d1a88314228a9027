"""Jars of Maven coordinates with all they need at run time, in one folder.

Maven resolves and checks them (``--strict-checksums``). It gets a repository folder of its own in
the cache, so it neither fills nor trusts the user's. A ``Jars`` folder is complete when it exists:
it is renamed to its name last.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.stack.places import locked
from infra.stack.progress import Board, megabytes_in
from infra.stack.tools import require, run, twice

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>none</groupId>
  <artifactId>{name}</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""
_DEPENDENCY = "    <dependency><groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version></dependency>\n"


@dataclass(frozen=True, slots=True)
class Jars:
    """The jars of some ``group:artifact:version`` coordinates, in ``<cache>/maven/<name>``."""

    title: str
    name: str
    coordinates: tuple[str, ...]
    cache: Path

    @property
    def folder(self) -> Path:
        """Where the jars are."""
        return self.cache / "maven" / self.name

    @property
    def classpath(self) -> str:
        """The argument of ``java -cp``."""
        return f"{self.folder}/*"

    def fetch(self, board: Board) -> None:
        """Fetch the jars, unless that was done before."""
        if self.folder.exists():
            return
        for tool in ("java", "mvn"):
            require(tool)
        maven = self.cache / "maven"
        # one lock for all: Maven does not like two users of one repository folder
        with locked(maven / "lock"):
            if self.folder.exists():
                return
            repository = maven / "repository"
            with board.task(f"{self.title}: fetching with Maven", lambda: f"{megabytes_in(repository):.0f} MB"):
                twice(self.title, lambda: self._copy(repository), board.say)
        jars = list(self.folder.glob("*.jar"))
        board.say(f"{self.title}: fetched {len(jars)} jars, {megabytes_in(self.folder):.1f} MB")

    def _copy(self, repository: Path) -> None:
        work = self.cache / "maven" / f"{self.name}.new"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        pom = work / "pom.xml"
        dependencies = "".join(_DEPENDENCY.format(*coordinate.split(":")) for coordinate in self.coordinates)
        pom.write_text(_POM.format(name=self.name, dependencies=dependencies))
        run(
            [
                require("mvn"),
                "--batch-mode",
                "--no-transfer-progress",
                "--strict-checksums",
                f"-Dmaven.repo.local={repository}",
                f"--file={pom}",
                _COPY,
                "-DincludeScope=runtime",
                f"-DoutputDirectory={work / 'jars'}",
            ],
            log=self.cache / "maven" / f"{self.name}.log",
        )
        (work / "jars").rename(self.folder)
        shutil.rmtree(work)
