# SPDX-License-Identifier: Apache-2.0
"""A cluster in a folder: start, stop and restart its servers one by one or all, and see how they are.

```
.flink/jars/    what Maven fetched                      .flink/log/   a log per server
.flink/conf/    configuration, written at each start    .flink/run/   a process per server: pid and birth
.flink/data/    Kafka's topics, checkpoints, savepoints, what the job manager remembers
```
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.cluster import jars, processes
from flows.cluster.ports import HOST, Hosts, Ports, answers
from flows.cluster.processes import Started
from flows.cluster.servers import NAMES, SERVERS, Setting, environment, format_kafka, write_configuration
from schemas.errors import UsageError, VNSightError

_POLL_S = 0.2
_READY_S = 90.0  # 8 s on a quiet machine
_TRY_AGAIN_S = 10.0  # one that ends at once is not started over and over
_LARGE_LOG = 20 << 20

Progress = Callable[[str, int, int], None]


def _silent(_step: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class Member:
    """How one server is."""

    name: str
    port: int
    process: Started | None
    """The process that was started last; none when it never was, or was stopped."""

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.alive()

    @property
    def fallen(self) -> bool:
        """Whether it ended without having been stopped."""
        return self.process is not None and not self.process.alive()


class Cluster:
    """The servers of one folder. Several may run at once, in folders and on ports of their own."""

    def __init__(self, folder: Path, ports: Ports | None = None, *, jar_folder: Path | None = None) -> None:
        """Open a cluster: nothing is started.

        `ports` are those of the last start, or the usual ones; others can be given while nothing runs. `jar_folder` is `<folder>/jars`
        by default; clusters may share one.
        """
        self.folder = folder.absolute()
        before = Ports.read(self._ports_file)
        self.ports = ports or before or Ports()
        self.hosts = Hosts.of_environment()
        self.jar_folder = (jar_folder or self.folder / "jars").absolute()
        if before is not None and before != self.ports and any(m.up for m in self.status()):
            raise UsageError(f"the cluster in {folder} runs on other ports; stop it first, or leave the ports away")

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap servers."""
        return f"{self.hosts.kafka}:{self.ports.kafka}"

    @property
    def rest(self) -> str:
        """URL of Flink's pages and REST."""
        return f"http://{self.hosts.jobmanager}:{self.ports.rest}"

    def beam_arguments(self, *, checkpoint_ms: int = 2000, parallelism: int = 1, resume: Path | str | None = None) -> list[str]:
        """Pipeline options that run a streaming pipeline here, from a checkpoint or savepoint if one is given.

        A checkpoint every `checkpoint_ms`; `parallelism` is 1 or 2, for the task manager has two slots.
        """
        chosen = [
            "--runner=PortableRunner", "--streaming", f"--job_endpoint={self.hosts.jobserver}:{self.ports.job}",
            f"--artifact_endpoint={self.hosts.jobserver}:{self.ports.artifact}",
            "--environment_type=EXTERNAL", f"--environment_config={HOST}:{self.ports.workers}",  # beside each task manager
            f"--parallelism={parallelism}", f"--checkpointing_interval={checkpoint_ms}",
            "--finish_bundle_before_checkpointing",  # or what the first stage gives never leaves its bundle
            "--max_bundle_time_mills=200", "--externalized_checkpoints_enabled", "--retain_externalized_checkpoints_on_cancellation",
        ]  # fmt: skip
        return chosen if resume is None else [*chosen, f"--savepoint_path={resume}"]

    def latest_checkpoint(self, job: str = "*") -> Path | None:
        """Folder of the youngest completed checkpoint, of one job (Flink's id) or of any; none when there is none."""
        done = list(self.folder.joinpath("data", "checkpoints").glob(f"{job}/chk-*/_metadata"))
        return max(done, key=lambda p: p.stat().st_mtime_ns).parent if done else None

    def status(self) -> list[Member]:
        """How each server is, in the order of starting."""
        return [Member(name, getattr(self.ports, SERVERS[name].port), processes.read(self._pid_file(name))) for name in NAMES]

    def start(self, names: Sequence[str] | str = NAMES, *, which: str | None = None, progress: Progress = _silent) -> list[str]:
        """Start the named servers that do not run, and give their names; they are not ready yet (`wait_ready`).

        `which` is the set of jars, by default that of the last start. `UsageError` without Java, for an unknown name, or when somebody
        else has the port.
        """
        wanted = _check(names)
        if which is not None:
            jars.check_set(which)
        return self._start_those(lambda m: m.name in wanted and not m.up, which, progress)

    def raise_fallen(self) -> list[str]:
        """Start again the servers that ended without having been stopped, and give their names; they are not ready yet.

        One that was started less than `_TRY_AGAIN_S` ago is left for later. Servers that were never started here (containers have
        keepers of their own) are nobody's to raise. Errors as in `start`.
        """
        return self._start_those(lambda m: m.fallen and time.time() - self._pid_file(m.name).stat().st_mtime > _TRY_AGAIN_S)

    def _start_those(self, which_of: Callable[[Member], bool], which: str | None = None, progress: Progress = _silent) -> list[str]:
        with self._alone():
            chosen = [m for m in self.status() if which_of(m)]
            if chosen:
                setting = self._setting(which or self._set_of_last_start(), progress)
                for member in chosen:
                    self._start(member, setting)
        return [m.name for m in chosen]

    def stop(self, names: Sequence[str] | str = NAMES, *, kill: bool = False) -> list[str]:
        """End the named servers that run, the last started first, and give their names: SIGTERM and then SIGKILL, or at once SIGKILL."""
        wanted = _check(names)
        with self._alone():
            running = [m for m in reversed(self.status()) if m.name in wanted and m.up]
            for member in running:
                assert member.process is not None
                processes.end(member.process, kill=kill)
            for name in wanted:
                self._pid_file(name).unlink(missing_ok=True)
        return [m.name for m in running]

    def restart(self, names: Sequence[str] | str, *, kill: bool = False) -> None:
        """Stop and start again; not ready yet."""
        self.stop(names, kill=kill)
        self.start(names)

    def wait_ready(self, names: Sequence[str] | str = NAMES, *, timeout_s: float = _READY_S, progress: Progress = _silent) -> None:
        """Wait until the named servers do their work; `VNSightError` names the one that died or does not come, and its log."""
        waiting, until = _check(names), time.monotonic() + timeout_s
        while True:
            for member in self.status():
                if member.name not in waiting:
                    continue
                if member.process is None or not member.process.alive():
                    raise VNSightError(f"{member.name} {'ended' if member.process else 'was not started'}{self._last_words(member.name)}")
                if SERVERS[member.name].ready(self.ports, member.process):
                    waiting.remove(member.name)
                    progress(member.name, 1, 1)
            if not waiting:
                return
            if time.monotonic() > until:
                raise VNSightError(f"{waiting[0]} is not ready after {timeout_s:g} s{self._last_words(waiting[0])}")
            time.sleep(_POLL_S)

    def children(self, name: str) -> list[int]:
        """Pids of what a server has started, such as the Python workers of `workers`."""
        _check(name)
        process = processes.read(self._pid_file(name))
        return process.group() if process else []

    def wipe(self) -> None:
        """Forget topics, checkpoints, jobs and logs; `UsageError` while something runs."""
        if running := [m.name for m in self.status() if m.up]:
            raise UsageError(f"{', '.join(running)} still run; stop them first")
        for place in ("data", "log", "run", "tmp", "conf", "plugins"):
            shutil.rmtree(self.folder / place, ignore_errors=True)

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    @property
    def _set_file(self) -> Path:
        return self.folder / "run" / "jars.set"

    def _pid_file(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.pid"

    def _log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        for place in ("run", "log"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        with (self.folder / "run" / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _setting(self, which: str, progress: Progress) -> Setting:
        fetched = jars.fetch(self.jar_folder, which, progress)
        setting = Setting(self.folder, self.folder / "data", self.ports, self.hosts, jars.require_java(), fetched)
        write_configuration(setting)
        self.ports.write(self._ports_file)
        self._set_file.write_text(which, encoding="utf-8")
        return setting

    def _set_of_last_start(self) -> str:
        return self._set_file.read_text(encoding="utf-8") if self._set_file.exists() else jars.SETS[0]

    def _start(self, member: Member, setting: Setting) -> None:
        name, log = member.name, self._log(member.name)
        if answers(member.port):
            raise UsageError(f"{name}: another program listens on port {member.port}; stop it, or choose with --port.{SERVERS[name].port}")
        if name == "kafka":
            format_kafka(setting)
        if log.exists() and log.stat().st_size > _LARGE_LOG:
            log.replace(log.with_suffix(".log.1"))
        tag = f"{name}-{time.time_ns()}"
        command = SERVERS[name].command(setting, tag)
        started = processes.start(command, log, env=environment(self.folder), cwd=self.folder, tag=tag)
        processes.write(started, self._pid_file(name))

    def _last_words(self, name: str) -> str:
        log = self._log(name)
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] if log.exists() else []
        return f"; its log is {log}" + (f" and ends: {said[0]}" if said else "")


def _check(names: Sequence[str] | str) -> list[str]:
    wanted = [names] if isinstance(names, str) else list(names)
    if unknown := [n for n in wanted if n not in NAMES]:
        raise UsageError(f"{unknown[0]}: is no server of the cluster; choose of {', '.join(NAMES)}")
    return wanted
