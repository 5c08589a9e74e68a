# SPDX-License-Identifier: Apache-2.0
"""What we ask of Flink's REST: is the job there, how far is its watermark, what do its checkpoints weigh, make a savepoint, cancel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

from schemas.errors import VNSightError

END_MS = 9_223_372_036_854_775  # Beam's end of time, in milliseconds; all that was to come has come
COUNTED = ".vnsight_"  # our counters, as Beam names them to Flink: 0.<step>.vnsight_<counter>
RUNNING = ("INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "RECONCILING")


class FlinkAway(VNSightError):
    """Flink does not answer now; later it may."""


class NotReady(FlinkAway):
    """Flink answers, but not this: it does not know a job's parts yet, or is on its way up."""


class SavepointFailed(VNSightError):
    """The savepoint was not made and the job goes on; later it may be."""


@dataclass(frozen=True)
class Job:
    """A job as Flink lists it: id, name, state (RUNNING, RESTARTING, FAILED, CANCELED ...)."""

    id: str
    name: str
    state: str

    @property
    def at_work(self) -> bool:
        """Whether it runs, or is on its way to."""
        return self.state in RUNNING


@dataclass(frozen=True)
class Checkpoints:
    """Completed and failed checkpoints, bytes of state in the last one, and when it was complete (UTC ms; 0: none)."""

    completed: int
    failed: int
    state_bytes: int
    last_ms: int


class Flink:
    """A cluster's REST at an address such as `http://127.0.0.1:8081`."""

    def __init__(self, address: str) -> None:
        self.address = address
        # no connection is kept: a server that is killed would leave it half open, and nobody there to close it
        unkept = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(base_url=address, timeout=10.0, trust_env=False, limits=unkept)

    def find(self, name: str) -> Job | None:
        """The youngest job of a name; None when there is none. `FlinkAway` when Flink does not answer."""
        jobs = [j for j in self._get("/jobs/overview")["jobs"] if j["name"] == name]
        if not jobs:
            return None
        latest = max(jobs, key=lambda j: j["start-time"])
        return Job(latest["jid"], latest["name"], latest["state"])

    def wait_for(self, name: str, patience_s: float, *, other_than: str = "") -> Job:
        """The job of a name once it is at work; `VNSightError` after the patience. `other_than`: id of one that does not count."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            job = self.find(name)
            if job is not None and job.id != other_than and job.at_work:
                return job
            time.sleep(0.3)
        raise VNSightError(f"the job was submitted and did not appear in {patience_s:g} s; see the log of the job server")

    def watermark_ms(self, job: Job) -> int | None:
        """Event time the slowest step of a job has reached, in UTC ms; `END_MS` and more at the end of time, None before anything."""
        found = []
        for vertex in self._get(f"/jobs/{job.id}")["vertices"]:
            path = f"/jobs/{job.id}/vertices/{vertex['id']}/metrics"
            ids = [m["id"] for m in self._get(path) if m["id"].endswith("currentOutputWatermark")]
            values = self._get(f"{path}?get={','.join(ids)}") if ids else []
            found += [int(m["value"]) for m in values]
        return min(found) if found and min(found) > -END_MS else None

    def checkpoints(self, job: Job) -> Checkpoints:
        """How the checkpoints of a job are."""
        said = self._get(f"/jobs/{job.id}/checkpoints")
        last = (said.get("latest") or {}).get("completed") or {}
        counts = said["counts"]
        return Checkpoints(counts["completed"], counts["failed"], last.get("state_size", 0), last.get("latest_ack_timestamp", 0))

    def counters(self, job: Job) -> dict[str, int]:
        """What the steps of a job counted since it was begun or brought back, by name, all subtasks together."""
        found: dict[str, int] = {}
        for vertex in self._get(f"/jobs/{job.id}")["vertices"]:
            path = f"/jobs/{job.id}/vertices/{vertex['id']}/metrics"
            ids = [m["id"] for m in self._get(path) if COUNTED in m["id"]]
            for metric in self._get(f"{path}?get={','.join(ids)}") if ids else []:
                name = metric["id"].rpartition(COUNTED)[2]
                found[name] = found.get(name, 0) + int(float(metric["value"]))
        return found

    def late(self, job: Job) -> int:
        """Messages that came more than a day behind the time of their partition, since the job was begun or brought back."""
        counted = self.counters(job)
        return counted.get("behind_7d", 0) + counted.get("behind_older", 0)

    def restarts(self, job: Job) -> int:
        """How often Flink itself has begun a job again."""
        found = self._get(f"/jobs/{job.id}/metrics?get=numRestarts")
        return int(found[0]["value"]) if found else 0

    def why(self, job: Job) -> str:
        """The first line of what made a job fail; empty when nothing did."""
        said = self._get(f"/jobs/{job.id}/exceptions").get("root-exception") or ""
        return str(said).strip().splitlines()[0][:300] if said else ""

    def savepoint(self, job: Job, folder: str, patience_s: float = 120.0) -> str:
        """Make a savepoint, cancel the job, and return the savepoint's place; `SavepointFailed` when it cannot."""
        asked = self._send("POST", f"/jobs/{job.id}/savepoints", {"target-directory": folder, "cancel-job": True})
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            said = self._get(f"/jobs/{job.id}/savepoints/{asked['request-id']}")
            if said["status"]["id"] == "COMPLETED":
                if place := (said.get("operation") or {}).get("location"):
                    return str(place)
                raise SavepointFailed(f"the savepoint failed: {_reason(said.get('operation'))}; the job goes on, try again")
            time.sleep(0.3)
        raise SavepointFailed(f"the savepoint was not complete after {patience_s:g} s; the job goes on, try again")

    def cancel(self, job: Job) -> None:
        """End a job; its retained checkpoints stay."""
        self._send("PATCH", f"/jobs/{job.id}?mode=cancel", None)

    def _get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, body: Any) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else {}
        except httpx.HTTPStatusError as error:
            said = f"Flink at {self.address} answers {error.response.status_code} to {method} {path.partition('?')[0]}"
            raise NotReady(f"{said}; if that stays so: vnsight cluster status") from error
        except (httpx.HTTPError, ValueError) as error:
            why = type(error).__name__
            raise FlinkAway(f"Flink at {self.address} does not answer ({why}); is it up? vnsight cluster status") from error


def _reason(operation: Any) -> str:
    """What went wrong in the end, of a failed operation: the message of the innermost exception its stack trace names."""
    trace = str(operation["failure-cause"]["stack-trace"]) if operation else "Flink does not say why"
    causes = [line for line in trace.splitlines() if not line.startswith("\t")]
    return causes[-1].rpartition("Exception: ")[2][:300]
