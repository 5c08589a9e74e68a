# SPDX-License-Identifier: Apache-2.0
import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import landing
from pipelines.landing import Stamp, land, landed_files, manifest, sweep
from schemas.errors import VNSightError
from schemas.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
AS = ("patients", "patients/a.ndjson", "inbox")


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def everything(ws: Workspace) -> list[str]:
    return sorted(p.relative_to(ws.landing).as_posix() for p in ws.landing.rglob("*") if p.is_file())


def test_a_landed_file_lies_read_only_under_its_hash_as_it_came(ws):
    landed = land(ws, AS, [b"one\n", b"", b"two\n"], 17)
    assert landed is not None
    assert landed.sha256 == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert (landed.source, landed.file, landed.origin, landed.size, landed.landed_us) == (*AS, 8, 17)
    path = ws.landing / landed.path
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert landed_files(ws) == [landed]


def test_the_same_file_again_is_not_new_and_keeps_its_time(ws):
    first = land(ws, AS, [b"x"], 1, Stamp(1, 10))
    assert land(ws, AS, [b"x"], 2, Stamp(1, 20)) is None
    assert landed_files(ws) == [first]
    assert manifest(ws)[0].stamp == Stamp(1, 20)  # touched at its source: the next pull must not read it again
    assert len(everything(ws)) == 2


def test_same_bytes_under_another_name_or_new_bytes_under_the_same_name_are_new(ws):
    one = land(ws, AS, [b"x"], 1)
    two = land(ws, ("patients", "patients/b.ndjson", "inbox"), [b"x"], 2)
    three = land(ws, AS, [b"y"], 3)
    assert set(landed_files(ws)) == {one, two, three}
    assert one.path == two.path != three.path


def test_an_empty_file_is_a_file(ws):
    assert land(ws, AS, [], 1).size == 0


def test_files_are_listed_by_source_name_and_hash(ws):
    for name in ("survey_responses/b", "patients/z", "patients/a"):
        land(ws, (name.split("/")[0], name, "inbox"), [name.encode()], 1)
    assert [f.file for f in landed_files(ws)] == ["patients/a", "patients/z", "survey_responses/b"]


def test_a_source_that_breaks_off_leaves_nothing(ws):
    def blocks():
        yield b"half"
        raise VNSightError("the rest did not come")

    with pytest.raises(VNSightError, match="the rest"):
        land(ws, AS, blocks(), 1)
    assert everything(ws) == []


def test_a_full_disk_is_said_and_leaves_nothing(ws, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(landing.os, "fsync", full)
    with pytest.raises(VNSightError, match=r"patients/a.ndjson: cannot be landed \(No space left on device\); make room"):
        land(ws, AS, [b"x"], 1)
    assert everything(ws) == []


def land_in_a_process(ws: Workspace, kill_at: str) -> int:
    code = (
        "from pathlib import Path; from schemas.workspace import Workspace; from pipelines.landing import land\n"
        f"land(Workspace(Path({str(ws.home)!r})), {AS!r}, [b'x'], 5)"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"VNSIGHT_KILL_AT": kill_at}, check=False).returncode


@pytest.mark.parametrize(("point", "listed"), [("land:copied", 0), ("land:listed", 1)])
def test_a_killed_landing_is_made_good_by_the_next(ws, point, listed):
    assert land_in_a_process(ws, point) == -signal.SIGKILL
    assert len(landed_files(ws)) == listed
    again = land(ws, AS, [b"x"], 9)
    assert (again is None) is bool(listed)
    assert [(f.file, f.landed_us) for f in landed_files(ws)] == [("patients/a.ndjson", 5 if listed else 9)]
    assert len(everything(ws)) == 2  # the copy was used again


def test_what_a_kill_left_half_copied_is_swept(ws):
    kept = land(ws, AS, [b"x"], 1)
    (ws.landing / ".0123.tmp").write_bytes(b"half")
    (ws.landing / "manifest" / "ab.cd.tmp").write_bytes(b"{")
    sweep(ws)
    assert landed_files(ws) == [kept]
    assert len(everything(ws)) == 2


def test_the_manifest_of_many_files_is_read_quickly(ws):
    folder = ws.landing / "manifest"
    folder.mkdir(parents=True)
    for i in range(5_000):
        landed = {"source": "patients", "file": f"patients/{i:05d}", "origin": "inbox", "sha256": f"{i:064d}", "size": 1, "landed_us": i}
        (folder / f"{i:032d}.json").write_text(json.dumps({"landed": landed, "stamp": {"size": 1, "mtime_ns": 1}}))
    began = time.perf_counter()
    assert len(landed_files(ws)) == 5_000
    assert time.perf_counter() - began < 3  # 0.2 s on a quiet machine: 50,000 take two seconds
