# SPDX-License-Identifier: Apache-2.0
"""Many small worlds in one stream: each world is the study of tests/small_world.py under ids of its own, and arrives in an order of its
own. A thousand arrival orders then cost hardly more than one."""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping

import polars as pl

from pipelines.core.canonical import owners_of
from pipelines.core.parse_json import parse_json
from pipelines.core.rows import TextChunk
from pipelines.core.segments import DoseOptions
from pipelines.core.shard import stage_shard
from pipelines.core.validate import Provenance, validate
from schemas.contract import MARTS, SOURCES, load_contract
from schemas.frames import staged_schema
from tests.small_world import SECRET, files

Line = tuple[str, bytes]  # source, JSON


def _of_world(line: bytes, world: int) -> bytes:
    try:
        row = json.loads(line)
    except ValueError:
        return line
    return json.dumps({k: f"{v}w{world}" if k.endswith("_id") and isinstance(v, str) else v for k, v in row.items()}).encode()


def lines_of(world: int) -> list[Line]:
    return [(name.split("/")[0], _of_world(line, world)) for name, text in sorted(files().items()) for line in text.splitlines()]


def facts_of_lines(source: str, lines: Iterable[bytes]) -> pl.DataFrame:
    contract = load_contract(source)
    parsed = parse_json(TextChunk(b"\n".join(lines), 1), contract)
    if not parsed.frame.height:
        return pl.DataFrame(schema=staged_schema(contract))
    return validate(parsed, contract, Provenance(0, "stream", 0), SECRET).facts


def by_source(lines: Iterable[Line]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for source, line in lines:
        found[source].append(line)
    return found


def batch_of(lines: Iterable[Line]) -> Mapping[str, pl.DataFrame]:
    """What the nightly batch makes of all these lines, each mart sorted by its key."""
    found = by_source(lines)
    facts = {s: facts_of_lines(s, found.get(s, ())) for s in SOURCES}
    marts = stage_shard(facts, owners_of(facts["devices"]), 0, DoseOptions(), (7, 28, 90)).marts
    return {mart: marts[mart].sort(load_contract(f"mart.{mart}").key) for mart in MARTS}


def arrival(world: int, steps: int, seed: object) -> list[tuple[int, int, Line]]:
    """(step of arrival, step its timestamp claims, line) of a world: shuffled, some twice, some delayed, a device silent till the end."""
    rng = random.Random(f"{seed}/{world}")
    lines = lines_of(world)
    offline = f"D{rng.randrange(1, 6)}w{world}".encode()
    out = []
    for line in lines + rng.sample(lines, len(lines) // 6):
        step = rng.randrange(steps)
        if offline in line[1] and rng.random() < 0.9:
            step = steps - 1 - rng.randrange(2)
        out.append((step, max(0, step - rng.choice((0, 0, 1, steps))), line))
    return out


def assert_same(streamed: Mapping[str, pl.DataFrame], batch: Mapping[str, pl.DataFrame]) -> None:
    for mart in MARTS:
        rows = streamed[mart].select(batch[mart].columns).sort(load_contract(f"mart.{mart}").key)
        assert rows.height == batch[mart].height, f"{mart}: {rows.height} rows instead of {batch[mart].height}"
        assert rows.equals(batch[mart]), mart
