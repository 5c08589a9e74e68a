# SPDX-License-Identifier: Apache-2.0
"""One streaming job of a workspace: start it or take it over, commit what it finds, bring it back when it is gone, tell the owner.

`stream/job.json` remembers the job, so that whoever supervises next takes it over. Where a job goes on from, in this order: the
savepoint of the last drain, the youngest checkpoint of the last job, the facts that are staged. All three end in the same marts; the
first two are faster. Which partitions a job reads is part of its state: when one is added, only the third can take it in.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from flows.cluster import Cluster
from flows.committer import commit_updates
from flows.engine.alarm import Alarm
from flows.engine.flink import END_MS, Flink, FlinkAway, Job, NotReady, SavepointFailed
from flows.engine.job import Options, Remembered, kafka_of
from flows.engine.submission import hand_over
from flows.engine.topics import NoTopicYet, TopicsSeen, must_have_some, see_topics
from flows.lock import Busy, only_run
from flows.steps import Outcome
from flows.stream.status import Status
from pipelines.kafka import Unreachable
from pipelines.launch import silent
from pipelines.updates import begin_positions, positions, waiting_updates
from schemas.errors import VNSightError
from schemas.milestones import milestone
from schemas.workspace import Workspace
from warehouse.delta import last_complete

LONGEST_PAUSE_S = 60.0
STARTING_S = 60.0  # for so long Flink may not know all parts of a job that was just submitted
Show = Callable[[Status, bool], None]


@dataclass
class Supervisor:
    """The streaming job of a workspace on a cluster."""

    ws: Workspace
    cluster: Cluster
    options: Options
    show: Show
    stop: Event = field(default_factory=Event, init=False)
    pause: float = field(default=1.0, init=False)  # before the next start of a job that is gone
    away: float = field(default=0.0, init=False)  # since when Flink does not answer
    begun: float = field(default=-STARTING_S, init=False)  # when the job was submitted from here

    def __post_init__(self) -> None:
        self.topics = kafka_of(self.ws)
        self.flink = Flink(self.cluster.rest)
        self.memory = Remembered.read(self.ws)
        if self.memory.cells and self.memory.cells != self.options.cells:
            self.options = replace(self.options, cells=self.memory.cells)  # the keys of a state cannot be cut anew
        self.status = Status(self.options.commit_s, 0, engine="flink")
        self.status.load = last_complete(self.ws).load
        self.alarm = Alarm(self.ws, self.options)

    def run(self, stop: Event) -> Outcome | None:
        """Supervise until told to stop (then drain) or, if asked for, until all is read; return an outcome that was held, if one was."""
        self.stop = stop
        try:
            if not self._started():
                return None
            while True:
                began = time.monotonic()
                held = self._commit()
                if held is not None:
                    self._say("held", "the audit held a commit back; the job goes on, its updates wait")
                    return held
                idle = self._look()
                self.show(self.status, True)
                if self.options.until_idle and idle and not waiting_updates(self.ws.home):
                    if job := self._job():
                        self.flink.cancel(job)
                    self._say("stopped", "all is read")
                    return None
                if self.stop.wait(max(0.2, self.options.commit_s - (time.monotonic() - began))):
                    return self.drain()
        finally:
            self.status.save(self.ws)

    def _started(self) -> bool:
        """Start, and wait for a broker, a topic or a Flink that is not there; False when told to stop meanwhile."""
        pause = 1.0
        while True:
            try:
                self.start()
                return True
            except (Unreachable, FlinkAway) as error:
                why = str(error)
                if self.options.until_idle and isinstance(error, NoTopicYet):
                    self._say("stopped", why)
                    return False
            self._say("waiting", f"{why}; tried again in {pause:g} s")
            if self.stop.wait(pause):
                self._say("stopped", why)
                return False
            pause = min(LONGEST_PAUSE_S, 2 * pause)

    def start(self) -> None:
        """Take the job over if it runs and reads what it should, else submit it."""
        job = self._job()
        if job is None or not job.at_work:
            self.submit()
        elif self.memory.source not in ("", self.topics.name):
            self._begin_anew(job, see_topics(self.topics))

    def submit(self) -> None:
        """Hand the job to the cluster, to go on from the savepoint, the checkpoint or the facts it finds."""
        seen = must_have_some(see_topics(self.topics), self.topics)
        anew = self._why_anew(seen)
        latest = self.memory.savepoint or (self.cluster.latest_checkpoint(self.memory.job) if self.memory.job else None)
        resume = None if anew else latest
        known = [f"{topic}/{number}" for topic, number, _ in seen.places]
        if resume:
            known = self.memory.partitions or known
        else:
            begin_positions(self.ws.home, {f"{topic}/{number}": low for topic, number, low in seen.places})
        hand_over(self.ws, self.cluster, self.memory.name, self.options, seen.places, resume)
        milestone("engine:submitted")
        job, self.begun = self.flink.wait_for(self.memory.name, 120, other_than=self.memory.job), time.monotonic()
        self.memory = Remembered(
            self.memory.name, job.id, "", self.options.cells, self.memory.starts + 1, known, self.topics.name,
            self.memory.made_anew if resume else {},
        )  # fmt: skip
        self.memory.write(self.ws)
        why = f" anew, for {anew}," if anew else ""
        self._say("running", f"job {job.id} goes on from {resume}" if resume else f"job {job.id} begins{why} with what is staged")

    def _why_anew(self, seen: TopicsSeen) -> str:
        """Why the state that is there cannot go on; empty when it can. What a job reads is fixed in its state when it begins."""
        if self.memory.source not in ("", self.topics.name):
            return f"source {self.memory.source} is called {self.topics.name} now"
        new = seen.new(self.memory.partitions) if self.memory.partitions else []
        return f"{', '.join(new)} {'was' if len(new) == 1 else 'were'} added" if new else ""

    def _begin_anew(self, job: Job, seen: TopicsSeen) -> None:
        """End a job whose state cannot go on, and begin another one with what is staged; the broker tells it the rest again."""
        self._say("waiting", f"the job is begun anew: {self._why_anew(seen)}")
        self.flink.cancel(job)
        self._commit()  # what it has found; if it is held now, it is at the next turn as well
        self.submit()

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
        rows: Counter[str] = Counter()
        began = time.monotonic()
        while True:
            try:
                with only_run(self.ws):
                    outcome = commit_updates(self.ws, silent)
            except Busy as busy:
                self._say("waiting", str(busy))
                outcome = None
            if outcome is None or outcome.state == "held":
                if rows["read"]:
                    self.status.add_rows(rows)
                return outcome
            rows.update(outcome.rows)
            self.status.epoch, self.status.load = self.status.epoch + 1, outcome.load
            self.status.epoch_seconds = {"all": round(time.monotonic() - began, 3)}

    def _look(self) -> bool:
        """See how the job is, bring it back if it is gone, tell the owner what should not wait; say whether all is read."""
        try:
            return self._look_at(self._job())
        except Unreachable as error:  # met while the job is brought back; tried again at the next look
            self._say("waiting", str(error))
        except FlinkAway as error:
            starting = isinstance(error, NotReady) and time.monotonic() - self.begun < STARTING_S
            self._say("waiting", "the job is starting" if starting else str(error))
            self.away = self.away or time.monotonic()
            if time.monotonic() - self.away > self.options.away_s:
                self.alarm.tell("away", f"{error}. The stream stands still; readers keep what they have")
        return False

    def _look_at(self, job: Job | None) -> bool:
        if job is None or not job.at_work:
            return self._revive(job)
        status, watermark = self.status, self.flink.watermark_ms(job)
        weight, status.late = self.flink.checkpoints(job), self.flink.late(job)
        self.away = 0.0
        self.alarm.over("away")
        self.alarm.over("server ended")
        if weight.completed:  # a job that fails before its first checkpoint has not come back
            self.pause = 1.0
            self.alarm.over("gone")
        status.watermark_ms, status.job_state, status.checkpoint_bytes = watermark or 0, job.state, weight.state_bytes
        status.checkpoint_age_s = max(0.0, time.time() - weight.last_ms / 1000) if weight.last_ms else 0.0
        ended = watermark is not None and watermark >= END_MS
        trouble = "" if job.state == "RUNNING" else f"Flink is {job.state.lower()}: {self.flink.why(job)}".rstrip(": ")
        strange = ""
        try:
            seen = None if ended else see_topics(self.topics)
        except Unreachable as error:
            seen, trouble = None, str(error)
        if seen:
            self._adopt(seen)
            if self._why_anew(seen):
                self._begin_anew(job, seen)
                return False
            status.lag_messages, strange = seen.lag(positions(self.ws.home)), self._strange(seen)
        status.lag_messages = {} if ended else status.lag_messages
        lag = sum(status.lag_messages.values())
        idle = ended or (not trouble and not lag and self._settled())
        quiet = self._waits_for_silence if not (trouble or lag or idle) else ""
        self._say("waiting" if trouble else "running", "; ".join(filter(None, (trouble, strange, quiet))))
        self.alarm.watch(watermark, lag)
        return idle

    @property
    def _waits_for_silence(self) -> str:
        """What is to be said when all is read and the stream does not end yet, though it was asked to."""
        if not self.options.until_idle:
            return ""
        return f"all is read; waiting {'for the end of' if self._idle_s is None else f'up to {self._idle_s:g} s for'} silent partitions"

    def _strange(self, seen: TopicsSeen) -> str:
        """What is wrong with the topics themselves. One that was made anew stays so, though it may outgrow what was read of the old one."""
        read = positions(self.ws.home)
        found = seen.made_anew({name: at for name, at in read.items() if name in self.memory.partitions})
        if found.keys() - self.memory.made_anew.keys():
            self.memory = replace(self.memory, made_anew=found | self.memory.made_anew)
            self.memory.write(self.ws)
        return self.alarm.topics(self.topics.name, seen.gone(self.memory.partitions), self.memory.made_anew)

    def _adopt(self, seen: TopicsSeen) -> None:
        """A job of a version that did not remember what it reads is taken to read all that is there."""
        if not self.memory.partitions:
            self.memory = replace(self.memory, partitions=seen.new(()), source=self.topics.name)
            self.memory.write(self.ws)

    def _settled(self) -> bool:
        """Nothing waits at the broker and the watermark follows the clock: what came was looked at."""
        return self._idle_s is not None and self.status.watermark_ms / 1000 > time.time() - self._idle_s - self.options.lag_s - 30

    @property
    def _idle_s(self) -> float | None:
        return self.options.idle_s if self.options.idle_s >= 0 else None

    def _revive(self, job: Job | None) -> bool:
        why = self.flink.why(job) if job else "Flink does not know it"
        state = job.state.lower() if job else "gone"
        self.alarm.tell("gone", f"the streaming job is {state} ({why}); it is started again from its last checkpoint")
        self._say("waiting", f"the job is gone ({why}); next start in {self.pause:.0f} s")
        if not self.stop.wait(self.pause):
            self.pause = min(LONGEST_PAUSE_S, 2 * self.pause)
            self.submit()
        return False

    def _job(self) -> Job | None:
        self._raise_servers()
        return self.flink.find(self.memory.name)

    def _raise_servers(self) -> None:
        """Start the servers of this machine again that ended by themselves, as a task manager can while its tasks are torn down."""
        try:
            fallen = self.cluster.raise_fallen()
        except VNSightError as error:  # Java is gone, or somebody else has the port: as good as away
            raise FlinkAway(str(error)) from error
        if fallen:
            self._say("waiting", f"ended without being stopped, and is started again: {', '.join(fallen)}")
            self.alarm.tell("server ended", f"{self.status.message}. Its log says why: {self.cluster.folder / 'log'}")

    def _say(self, state: Any, message: str) -> None:
        self.status.state, self.status.message = state, message
        self.status.save(self.ws)
        self.show(self.status, False)
