# SPDX-License-Identifier: Apache-2.0
"""Whether the true effects lie inside the intervals that the marts print, and how often a mart finds something where nothing is.

    python -m bench.truth --seeds 200 --patients 2000 --large 100_000

Every seed is a study of its own, answered by the real SQL (`bench.truth_marts`); what is true is worked out apart from it
(`bench.truth_values`). Everything is kept under --data, so an interrupted run goes on where it was; --anew asks the SQL again over
the studies that are there.
Results: bench/results/truth.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from bench.truth_marts import build_marts, write_marts
from bench.truth_report import report
from bench.truth_values import DAYS, true_values
from simulator.block import Block, draw_block
from simulator.effects import DISORDERS, NO_EFFECTS
from simulator.plan import Plan, fault_rates
from warehouse.sql import query

HERE = Path(__file__).parent
WORLDS = {"effects": DISORDERS, "none": NO_EFFECTS}
LARGE_SEED = 100_000
WORN_SEEDS = 30  # nine records of ten are sessions of worn devices: only so many studies have them
_ASKED = "instrument = 'PHQ-9' and subscale = 'total' and definition = 'drop_50' and method = 'observed'"
# what is asked of the marts: one row per interval, with the p-value as printed and the one adjusted by the mart, where it adjusts
QUESTION = f"""
select 'effects' as family, stratifier, stratum, stratum || ': ' || arm as item, visit, arm as within, n + n_comparator as n,
    risk_difference as estimate, risk_difference_low as low, risk_difference_high as high, p, p_adjusted
from strata where comparator is not null and {_ASKED}
union all by name
select 'synergy' as family, stratifier, stratum, stratum as item, visit, '' as within, n,
    interaction as estimate, interaction_low as low, interaction_high as high, interaction_p as p, null::double as p_adjusted
from synergy where {_ASKED}
union all by name
select 'dose' as family, stratifier, stratum, modality || ', ' || banding || ': ' || band as item, visit,
    modality || ', ' || banding as within, n,
    rate as estimate, low, high, trend_p as p, null::double as p_adjusted
from dose_response where band_rank is not null and {_ASKED}
"""


@dataclass(frozen=True)
class Study:
    """One simulated study without faults: its world, size and seed; and whether sessions of worn devices are sent."""

    world: str
    patients: int
    seed: int
    worn: bool = True

    def blocks(self) -> Iterator[Block]:
        """Its patients, block by block."""
        plan = Plan(self.patients, DAYS, self.seed, rates=fault_rates(0))
        return (draw_block(plan, number, WORLDS[self.world], self.worn) for number in plan.blocks)

    def answers(self, home: Path) -> pl.DataFrame:
        """What the marts say of it; columns as in `QUESTION`, and the seed. What the SQL reads is kept below `home` for a next time."""
        if not (home / "complete").exists():
            write_marts(self.blocks(), home)
            (home / "complete").touch()
        window = build_marts(home)
        found = pl.DataFrame(pl.from_arrow(query(window, QUESTION)))
        window.unlink()
        return found.with_columns(seed=pl.lit(self.seed))


def kept(path: Path, work: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """Read a table, or make and keep it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        work().write_parquet(made)
        made.rename(path)
    return pl.read_parquet(path)


def sampled(data: Path, world: str, patients: int, seeds: int, until: float) -> pl.DataFrame:
    """Answers of the seeds 0, 1, ...; stops when the time is up and returns those that are there."""
    found = []
    for seed in range(seeds):
        home = data / f"{world}-{patients}" / str(seed)
        path = home / "answers.parquet"
        if not path.exists() and time.monotonic() > until:
            break
        found.append(kept(path, partial(Study(world, patients, seed, world == "effects" and seed < WORN_SEEDS).answers, home)))
        if seed % 10 == 9:
            print(f"  {world}, {patients:,} patients: {seed + 1} of {seeds} seeds", flush=True)
    return pl.concat(found) if found else pl.DataFrame()


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--patients", type=int, default=2_000, help="of each seed")
    parser.add_argument("--large", type=int, default=100_000, help="patients of one large study; 0: none")
    parser.add_argument("--population", type=int, default=400_000, help="patients followed through all arms to know what is true")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no seed after this long; run again to go on")
    parser.add_argument("--anew", action="store_true", help="ask the SQL again, after it changed")
    parser.add_argument("--data", type=Path, default=HERE / "data" / "truth")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


def main() -> int:
    """Run what is not there yet and write the report; 1 when a family misses its aim."""
    asked = options()
    until = time.monotonic() + 60 * asked.minutes
    if asked.anew:
        for old in asked.data.rglob("answers.parquet"):
            old.unlink()
    true, answers = {}, {}
    for world, disorders in WORLDS.items():
        path = asked.data / f"true-{world}-{asked.population}.parquet"
        true[world] = kept(path, partial(true_values, asked.population, disorders, worn_every=5 if world == "effects" else 0))
        answers[world] = sampled(asked.data, world, asked.patients, asked.seeds, until)
    large = pl.DataFrame()
    home = asked.data / f"effects-{asked.large}" / str(LARGE_SEED)
    if asked.large and ((home / "answers.parquet").exists() or time.monotonic() < until):
        large = kept(home / "answers.parquet", partial(Study("effects", asked.large, LARGE_SEED).answers, home))
    page, kept_aims = report(true, answers, large, asked)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "truth.md").write_text(page, "utf-8")
    print(page)
    return int(not kept_aims)


if __name__ == "__main__":
    sys.exit(main())
