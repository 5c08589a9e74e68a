# SPDX-License-Identifier: Apache-2.0
"""The Java side, fetched once with Maven from the POMs in `deploy/`, and the small classes of ours compiled against it."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from schemas.errors import UsageError, VNSightError

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SETS = ("beam-2.70", "beam-2.62")  # a profile each in deploy/flink/pom.xml, the first is the default there
_OLDEST_JAVA = 17  # Kafka 4
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Job = tuple[list[Path], Callable[[Path], None]]  # what it is made from, and how


@dataclass(frozen=True)
class Jars:
    """Where the jars of a set lie."""

    folder: Path

    @property
    def flink(self) -> str:
        """Class path of Flink, Beam's runner and our classes."""
        return f"{self.folder / 'classes'}:{self.folder / 'flink'}/*"

    @property
    def kafka(self) -> str:
        """Class path of the broker."""
        return f"{self.folder / 'kafka'}/*"


def require_java() -> str:
    """Path of a Java that is new enough; `UsageError` says what to install."""
    hint = f"install a JDK of {_OLDEST_JAVA} or newer (Debian: apt-get install openjdk-17-jdk-headless)"
    java = _require("java", hint)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        raise UsageError(f"java is {version[1] if version else 'of an unknown version'}, too old for Kafka: {hint}")
    return java


def check_set(which: str) -> None:
    """Refuse the name of a set that there is not, with `UsageError`."""
    if which not in SETS:
        raise UsageError(f"{which}: is no set of jars; choose one of {', '.join(SETS)}")


def _require(program: str, hint: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"{program} was not found on the PATH; {hint}")
    return found


def fetch(folder: Path, which: str = SETS[0], progress: Callable[[str, int, int], None] = lambda *_: None) -> Jars:
    """Have the jars of a set in a folder: fetched when they are not there, or when a POM or a class of ours has changed.

    About 240 MB, a minute on a good line. `UsageError` for an unknown set, or without Maven or a JDK; `VNSightError` when Maven fails.
    """
    check_set(which)
    if not DEPLOY.is_dir():
        raise UsageError(f"{DEPLOY}: is not there; the cluster is started from a checkout of VNSight, not from an installed package")
    jobs: dict[str, Job] = {
        "kafka": ([DEPLOY / "kafka" / "pom.xml"], lambda to: _copy(DEPLOY / "kafka" / "pom.xml", which, to)),
        "flink": ([DEPLOY / "flink" / "pom.xml"], lambda to: _copy(DEPLOY / "flink" / "pom.xml", which, to)),
        "classes": ([DEPLOY / "flink" / "pom.xml", *_sources()], lambda to: _compile(folder / "flink", to)),
    }
    if any(not _is_made(folder / name, which, inputs) for name, (inputs, _) in jobs.items()):  # a folder that is complete may be read-only
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            _make(folder, which, jobs, progress)
    return Jars(folder.absolute())


def _make(folder: Path, which: str, jobs: Mapping[str, Job], progress: Callable[[str, int, int], None]) -> None:
    stale = {name: job for name, job in jobs.items() if not _is_made(folder / name, which, job[0])}
    for done, (name, (inputs, make)) in enumerate(stale.items()):
        progress("jars", done, len(stale))
        draft = folder / f"{name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        make(draft)
        shutil.rmtree(folder / name, ignore_errors=True)
        draft.replace(folder / name)
        _stamp(folder / name).write_text(_digest(which, inputs), encoding="utf-8")
    progress("jars", len(stale), len(stale))


def _stamp(made: Path) -> Path:
    return made.with_suffix(".made-from")


def _digest(which: str, inputs: list[Path]) -> str:
    return sha256(b"\0".join([which.encode(), *(p.read_bytes() for p in inputs)])).hexdigest()


def _is_made(made: Path, which: str, inputs: list[Path]) -> bool:
    stamp = _stamp(made)
    return made.is_dir() and stamp.exists() and stamp.read_text(encoding="utf-8") == _digest(which, inputs)


def _sources() -> list[Path]:
    return sorted(p for p in (DEPLOY / "flink" / "java").rglob("*") if p.is_file())


def _copy(pom: Path, which: str, to: Path) -> None:
    mvn = _require("mvn", "install Maven 3.6 or newer (Debian: apt-get install maven)")
    _require("javac", f"install a JDK, not only a Java runtime, of {_OLDEST_JAVA} or newer")
    command = [mvn, "-q", "-B", "-f", str(pom), f"-Dset={which}", _COPY, "-DincludeScope=runtime", f"-DoutputDirectory={to.absolute()}"]
    _call(command, "Maven could not fetch the jars")


def _compile(jars: Path, to: Path) -> None:
    javac = _require("javac", f"install a JDK, not only a Java runtime, of {_OLDEST_JAVA} or newer")
    grpc = f"grpc.{_vendored_grpc(jars)}."
    with TemporaryDirectory() as drafts:
        shutil.copytree(DEPLOY / "flink" / "java", drafts, dirs_exist_ok=True)
        sources = sorted(Path(drafts).rglob("*.java"))
        for source in sources:
            source.write_text(re.sub(r"grpc\.v\d+p\d+p\d+\.", grpc, source.read_text(encoding="utf-8")), encoding="utf-8")
        _call([javac, "-cp", f"{jars}/*", "-d", str(to), *map(str, sources)], "javac failed")
        shutil.copytree(Path(drafts) / "META-INF", to / "META-INF")


def _vendored_grpc(jars: Path) -> str:
    """The package of Beam's own copy of gRPC, such as v1p69p0: it changes with Beam's version."""
    jar = next(jars.glob("beam-vendor-grpc-*.jar"))
    return "v" + jar.name.removeprefix("beam-vendor-grpc-").split("-")[0].replace("_", "p")


def _call(command: list[str], failed: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if "ERROR" in line or "error:" in line]
        raise VNSightError(f"{failed}: {said[0] if said else f'exit code {ran.returncode}'}; mend it and run again")
