# SPDX-License-Identifier: Apache-2.0
"""One streaming job of a workspace: start it or take it over, commit what it finds, bring it back when it is gone, tell the owner.

`stream/job.json` remembers the job, so that whoever supervises next takes it over. Where a job goes on from, in this order: the
savepoint of the last drain, the youngest checkpoint of the last job, the facts that are staged. All three end in the same marts; the
first two are faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Any

from flows.cluster import Cluster
from flows.committer import commit_updates
from flows.engine.flink import END_MS, Flink, FlinkAway, Job, SavepointFailed
from flows.engine.job import Remembered, kafka_of, staged_facts
from flows.lock import Busy, only_run
from flows.steps import Outcome
from flows.stream.status import Status
from pipelines.kafka import Partition, Reader, Unreachable
from pipelines.launch import silent
from pipelines.updates import positions, waiting_updates
from quality.alerts import notify_owner
from schemas.contract import load_contract
from schemas.errors import UsageError, VNSightError
from schemas.milestones import milestone
from schemas.workspace import Stream, Workspace

if TYPE_CHECKING:
    from pipelines.transforms.stream import StreamOptions

Show = Callable[[Status, bool], None]


@dataclass(frozen=True)
class Options(Stream):
    """What the workspace declares, and `commit_s`: seconds between commits. `drain_s`: how long a savepoint is tried. `until_idle`: end
    when every partition has ended or nothing waits."""

    commit_s: float = 15.0
    drain_s: float = 180.0
    until_idle: bool = False

    @classmethod
    def declared(cls, ws: Workspace, **chosen: Any) -> Options:
        """What the workspace declares, but for what was chosen for this time (None: nothing was)."""
        return cls(**vars(ws.stream) | {name: value for name, value in chosen.items() if value is not None})


@dataclass
class Supervisor:
    """The streaming job of a workspace on a cluster."""

    ws: Workspace
    cluster: Cluster
    options: Options
    show: Show
    pause: float = field(default=1.0, init=False)
    away: float = field(default=0.0, init=False)  # since when Flink does not answer
    told: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.topics = kafka_of(self.ws)
        self.flink = Flink(self.cluster.rest)
        self.memory = Remembered.read(self.ws)
        if self.memory.cells and self.memory.cells != self.options.cells:
            self.options = replace(self.options, cells=self.memory.cells)  # the keys of a state cannot be cut anew
        self.status = Status(self.options.commit_s, 0, engine="flink")
        self.moved = (0, time.monotonic())  # watermark, when it last moved

    def run(self, stop: Event) -> Outcome | None:
        """Supervise until told to stop (then drain) or, if asked for, until all is read; return an outcome that was held, if one was."""
        self.start()
        try:
            while True:
                began = time.monotonic()
                held = self._commit()
                if held is not None:
                    self._say("held", "the audit held a commit back; the job goes on, its updates wait")
                    return held
                idle = self._look()
                self.show(self.status, True)
                if self.options.until_idle and idle and not waiting_updates(self.ws.home):
                    self.flink.cancel(self._job(must=True))
                    self._say("stopped", "all is read")
                    return None
                if stop.wait(max(0.2, self.options.commit_s - (time.monotonic() - began))):
                    return self.drain()
        finally:
            self.status.save(self.ws)

    def start(self) -> None:
        """Take the job over if it runs, else submit it."""
        job = self._job()
        if job is None or not job.at_work:
            self.submit()

    def submit(self) -> None:
        """Hand the job to the cluster, to go on from the savepoint, the checkpoint or the facts it finds."""
        from pipelines.transforms.kafka_source import KafkaOptions
        from pipelines.transforms.submit import submit

        resume = self.memory.savepoint or (self.cluster.latest_checkpoint(self.memory.job) if self.memory.job else None)
        table = next(t for t in self.ws.sources if t["name"] == self.topics.name)
        source = KafkaOptions(
            {k: v for k, v in self.topics.config.items() if k != "sasl.password"}, table.get("sasl_password_env"),
            table.get("sasl_password_file"), self.options.lag_s, self._idle_s,
        )  # fmt: skip
        arguments = self.cluster.beam_arguments(checkpoint_ms=self.options.checkpoint_ms, resume=resume)
        submit(self.memory.name, self._places(), source, self._stream_options(), staged_facts(self.ws), arguments)
        milestone("engine:submitted")
        job = self._wait_for_job()
        self.memory = replace(self.memory, job=job.id, savepoint="", cells=self.options.cells, starts=self.memory.starts + 1)
        self.memory.write(self.ws)
        self._say("running", f"job {job.id} goes on from {resume}" if resume else f"job {job.id} begins with what is staged")

    def drain(self) -> Outcome | None:
        """Stop reading with a savepoint, commit what is left, and remember the savepoint for the next start."""
        until = time.monotonic() + self.options.drain_s
        while not self._save():
            if time.monotonic() > until:
                waited = f"no savepoint could be made in {self.options.drain_s:g} s"
                raise VNSightError(f"{waited}; the job was left alone. Look: vnsight cluster status")
            time.sleep(1)
        held = self._commit()
        self._say("stopped", f"drained; the next start goes on from {self.memory.savepoint or 'its last checkpoint'}")
        return held

    def _save(self) -> bool:
        """Make the savepoint, unless the job is gone; False while Flink is away or the job restarts."""
        try:
            job = self._job()
            if job is not None and job.at_work:
                self._say("running", "draining: a savepoint is made, then the job ends")
                place = self.flink.savepoint(job, f"file://{self.cluster.folder / 'data' / 'savepoints'}")
                self.memory = replace(self.memory, savepoint=place)
                self.memory.write(self.ws)
        except (FlinkAway, SavepointFailed) as error:
            self._say("waiting", str(error))
            return False
        return True

    def _commit(self) -> Outcome | None:
        """Commit all that waits; return the outcome if it was held. Another run at work is waited for, not broken."""
        while True:
            began = time.monotonic()
            try:
                with only_run(self.ws):
                    outcome = commit_updates(self.ws, silent)
            except Busy as busy:
                self._say("waiting", str(busy))
                return None
            if outcome is None:
                return None
            self.status.epoch += 1
            self.status.load = outcome.load
            self.status.epoch_seconds = {"all": round(time.monotonic() - began, 3)}
            if outcome.state == "held":
                return outcome

    def _look(self) -> bool:
        """See how the job is, bring it back if it is gone, tell the owner what should not wait; say whether all is read."""
        try:
            job = self._job()
            if job is None or not job.at_work:
                return self._revive(job)
            watermark = self.flink.watermark_ms(job)
            weight = self.flink.checkpoints(job)
        except Unreachable as error:  # met while the job is brought back; tried again at the next look
            self._say("waiting", str(error))
            return False
        except FlinkAway as error:
            self._say("waiting", str(error))
            self.away = self.away or time.monotonic()
            if time.monotonic() - self.away > self.options.away_s:
                self._tell("away", f"{error}. The stream stands still; readers keep what they have")
            return False
        self.away = 0.0
        self.told.discard("away")
        if weight.completed:  # a job that fails before its first checkpoint has not come back
            self.pause = 1.0
            self.told.discard("gone")
        ended = watermark is not None and watermark >= END_MS
        lag = {} if ended else self._lag()
        self.status.lag_messages, self.status.checkpoint_bytes = lag, weight.state_bytes
        self.status.watermark_ms, self.status.job_state = watermark or 0, job.state
        self.status.checkpoint_age_s = max(0.0, time.time() - weight.last_ms / 1000) if weight.last_ms else 0.0
        self._say("running" if job.state == "RUNNING" else "waiting", "" if job.state == "RUNNING" else f"Flink is {job.state.lower()}")
        self._alarm(watermark, sum(lag.values()))
        return ended or (self._idle_s is not None and not sum(lag.values()) and self._settled())

    def _settled(self) -> bool:
        """Nothing waits at the broker and the watermark follows the clock: what came was looked at."""
        return self.status.watermark_ms / 1000 > time.time() - (self._idle_s or 0) - self.options.lag_s - 30

    @property
    def _idle_s(self) -> float | None:
        return self.options.idle_s if self.options.idle_s >= 0 else None

    def _revive(self, job: Job | None) -> bool:
        why = self.flink.why(job) if job else "Flink does not know it"
        state = job.state.lower() if job else "gone"
        self._tell("gone", f"the streaming job is {state} ({why}); it is started again from its last checkpoint")
        self._say("waiting", f"the job is gone ({why}); next start in {self.pause:.0f} s")
        time.sleep(self.pause)
        self.pause = min(60.0, 2 * self.pause)
        self.submit()
        return False

    def _alarm(self, watermark: int | None, lag: int) -> None:
        now = time.monotonic()
        if (watermark or 0) > self.moved[0] or not lag:
            self.moved = (watermark or 0, now)
            self.told.discard("stalled")
        elif now - self.moved[1] > self.options.stall_s:
            self._tell("stalled", f"the watermark has stood still for {now - self.moved[1]:.0f} s while {lag:,} messages wait")
        if lag > self.options.most_lag:
            self._tell("lag", f"{lag:,} messages wait at the broker, more than {self.options.most_lag:,}")
        else:
            self.told.discard("lag")

    def _tell(self, what: str, text: str) -> None:
        """Tell the owner of the ledger once, until it is over."""
        if what not in self.told:
            self.told.add(what)
            owner = load_contract("mart.ledger")
            notify_owner(self.ws, owner.owner, owner.channel, f"[warning] VNSight stream of {self.ws.home.name}: {what}", text)

    def _lag(self) -> dict[str, int]:
        """Topic -> messages that no commit has a receipt for yet."""
        read = positions(self.ws.home)
        try:
            with Reader(self.topics.config) as reader:
                ends = reader.ends(self._partitions(reader))
        except Unreachable as error:
            self._say("waiting", str(error))
            return self.status.lag_messages
        lag: dict[str, int] = {}
        for partition, (low, high) in ends.items():
            at = max(low, read.get(f"{partition.topic}/{partition.number}", 0))
            lag[partition.topic] = lag.get(partition.topic, 0) + max(0, high - at)
        return lag

    def _partitions(self, reader: Reader) -> list[Partition]:
        wanted = {f"{self.topics.prefix}{source}" for source in self.topics.sources}
        return [p for topic, found in reader.topics().items() if topic in wanted for p in found]

    def _places(self) -> list[tuple[str, int, int]]:
        with Reader(self.topics.config) as reader:
            ends = reader.ends(self._partitions(reader))
        if not ends:
            where = self.topics.config["bootstrap.servers"]
            raise UsageError(f"source {self.topics.name}: there is no topic {self.topics.prefix}<source> at {where} yet")
        return [(p.topic, p.number, low) for p, (low, _) in sorted(ends.items())]

    def _stream_options(self) -> StreamOptions:
        from pipelines.core.cells import CellOptions
        from pipelines.core.segments import DoseOptions
        from pipelines.core.units import DAY_MS
        from pipelines.transforms.stream import StreamOptions

        s = self.ws.settings
        dose = DoseOptions(s.carry_limit_days * DAY_MS, s.charge_convention)
        cells = CellOptions(self.options.cells, s.windows_days, dose)
        return StreamOptions(str(self.ws.home), self.topics.prefix, cells, self.options.settle_s, self.options.remember_days or None)

    def _job(self, must: bool = False) -> Any:
        job = self.flink.find(self.memory.name)
        if job is None and must:
            raise VNSightError(f"job {self.memory.name}: Flink does not know it")
        return job

    def _wait_for_job(self, patience_s: float = 120.0) -> Job:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            job = self._job()
            if job is not None and job.id != self.memory.job and job.at_work:
                return Job(job.id, job.name, job.state)
            time.sleep(0.3)
        raise VNSightError(f"the job was submitted and did not appear in {patience_s:g} s; see the log of the job server")

    def _say(self, state: Any, message: str) -> None:
        self.status.state, self.status.message = state, message
        self.status.save(self.ws)
        self.show(self.status, False)
