# SPDX-License-Identifier: Apache-2.0
"""Ten bugs one could have written into the keyed steps: each must be caught by the property of arrival orders."""

import pytest

from pipelines.core import canonical, cells, shard, versions
from pipelines.core.blocks import pack, unpack
from pipelines.transforms import keyed
from tests.pipelines.test_stream_orders import expected, run_stream
from tests.stream_world import assert_same

pytestmark = pytest.mark.cluster  # needs no server, but a minute and a half
SEEDS = range(3)


def holds() -> bool:
    """Whether the property holds for a handful of orders, as the property test would find out."""
    try:
        for seed in SEEDS:
            assert_same(run_stream(2, 6, f"mutant {seed}", cells=3, crashes=0.3, most_blocks=4).read(), expected(2))
    except (AssertionError, KeyError, ValueError):
        return False
    return True


def lose_a_timer(patch):
    def process(self, element, facts, news, copies, look):
        if facts.read():  # a timer is thought to be there already
            look = type(look)()
        original(self, element, facts, news, copies, look)

    original = keyed.JoinDoseToOutcomes.process
    patch.setattr(keyed.JoinDoseToOutcomes, "process", process)


def move_the_edge_of_the_window(patch):
    original = shard.dose_in_windows
    later = lambda s, r, a, w: original(s, r.with_columns(completed_ms=r["completed_ms"] + 1), a, w)  # noqa: E731
    patch.setattr(shard, "dose_in_windows", later)


def add_up_copies(patch):
    for module in (canonical, cells):  # where facts are told apart
        patch.setattr(module, "distinct", lambda frame: (frame, frame.clear()))


def forget_the_version(patch):
    original = versions.patient_versions
    patch.setattr(cells, "patient_versions", lambda f, o: original(f, o).with_columns(version=1))


def ignore_revisions_of_devices(patch):
    patch.setattr(versions, "REVISION", 0)


def never_send_what_waited(patch):
    original = cells.route_devices
    patch.setattr(keyed, "route_devices", lambda news, known, waiting, n: original(news, known, [], n))


def tell_only_the_new_owner(patch):
    def route(news, known, waiting, n):
        rows, out = original(news, known, waiting, n)
        latest = rows.sort("recorded_at", "_fingerprint").group_by("device_key").last().select("device_key", "patient_key")
        keep = lambda b: b.facts.join(latest, on=["device_key", "patient_key"], how="semi") if b.source == "devices" else b.facts  # noqa: E731
        return rows, [(cell, cells.Block(b.source, b.time_ms, keep(b))) for cell, b in out]

    original = cells.route_devices
    patch.setattr(keyed, "route_devices", route)


def compact_to_the_last_block(patch):
    patch.setattr(keyed, "compact", lambda blocks: list(blocks[-1:]))


def drop_what_is_late(patch):
    def process(self, element, facts, news, copies, look):
        times = [unpack(b).time_ms for b in facts.read()]
        if times and unpack(element[1]).time_ms < max(times) - 2 * 86_400_000:
            return
        original(self, element, facts, news, copies, look)

    original = keyed.JoinDoseToOutcomes.process
    patch.setattr(keyed.JoinDoseToOutcomes, "process", process)


def keep_old_owners_in_the_cache(patch):
    def owners(self, key, known):
        if key not in self.owners:
            original(self, key, known)
        return self.owners[key][1]

    original = keyed.RouteDeviceFacts._owners
    patch.setattr(keyed.RouteDeviceFacts, "_owners", owners)


def say_told_before_it_is(patch):
    def evaluate(*arguments):
        snapshot = cells.evaluate(*arguments)
        if snapshot is None:
            return None
        one = min(snapshot.marts["patient_versions"]["patient_key"])
        return cells.Snapshot({m: f.filter(f["patient_key"] != one) for m, f in snapshot.marts.items()}, snapshot.versions)

    patch.setattr(keyed, "evaluate", evaluate)


MUTANTS = [
    lose_a_timer, move_the_edge_of_the_window, add_up_copies, forget_the_version, ignore_revisions_of_devices, never_send_what_waited,
    tell_only_the_new_owner, compact_to_the_last_block, drop_what_is_late, keep_old_owners_in_the_cache, say_told_before_it_is,
]  # fmt: skip


def test_without_a_bug_the_property_holds():
    assert holds()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_bug_is_caught(monkeypatch, mutant):
    expected(2)  # made without the bug
    mutant(monkeypatch)
    assert not holds()


def test_packing_keeps_what_it_packs():
    block = unpack(pack(unpack(pack(cells.Block("devices", 7, cells.facts_of([])["devices"])))))
    assert (block.source, block.time_ms, block.facts.height) == ("devices", 7, 0)
