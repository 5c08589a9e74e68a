# SPDX-License-Identifier: Apache-2.0
"""Implanted devices: from what was programmed and what was read back to pieces of time with one vector each.

An implant keeps no log. The walk of `docs/dose.md`, section 3, holds the vector in force from one instant at which it was
known to the next, and says of every piece how well it is known. Here the walk is done for all devices of a shard at once:
every distinct vector gets a number, so holding is filling forward and comparing is comparing two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipelines.core.kernel import OPEN_END_MS
from pipelines.core.units import Convention, to_ms, to_whole, with_cycle

CONFIRMED, CARRIED, UNKNOWN = 0, 1, 2
NORMAL, MAGNET, AUTOSTIM, UNKNOWN_STREAM = 0, 1, 2, 3

VECTOR: Final = ("current_ma", "pulse_width_us", "frequency_hz", "on_s", "off_min")
WHOLE_VECTOR: Final = ("current_ua", "width_us", "frequency_mhz", "on_ms", "off_ms")
NO_VECTOR: Final = -1  # the battery is empty and nobody ever said what was programmed
PIECE_COLUMNS: Final = (
    "device_key", "stream", "start_ms", "end_ms", "cycle_ms", "charge_pc", "pulses_milli", "on_ms",
    "sessions", "coverage", "rate_known", "current_ua",
)  # fmt: skip


@dataclass(frozen=True)
class Vectors:
    """The distinct parameter vectors of a shard with their cycle, and the settings and readings that name them."""

    cycles: pl.DataFrame  # vector, current_ua, cycle_ms, charge_pc, pulses_milli, on_ms
    settings: pl.DataFrame  # device_key, t, set
    readings: pl.DataFrame  # device_key, t, read (null when it does not read), eos


def implanted_pieces(
    devices: pl.DataFrame,
    settings: pl.DataFrame,
    interrogations: pl.DataFrame,
    carry_limit_ms: int,
    convention: Convention,
) -> pl.DataFrame:
    """Return the pieces of streams normal and unknown of implanted devices, clipped to the life of the device.

    `devices` has device_key, a_ms and e_ms (`OPEN_END_MS` while in use); the other two are canonical facts. A device about
    which nothing is known is one unknown piece without a rate.
    """
    vectors = number_vectors(settings, interrogations, convention)
    instants = walk_instants(vectors).join(devices.select("device_key", "a_ms", "e_ms"), on="device_key", how="inner")
    pieces = pl.concat([*_judged_pieces(instants, carry_limit_ms), _before_first(devices, instants)])
    pieces = pieces.with_columns(pl.max_horizontal("start_ms", "a_ms"), pl.min_horizontal("end_ms", "e_ms"))
    return _with_amounts(pieces.filter(pl.col("start_ms") < pl.col("end_ms")), vectors.cycles)


def _whole_vector() -> list[pl.Expr]:
    return [
        to_whole("current_ma", 1_000).alias("current_ua"),
        pl.col("pulse_width_us").cast(pl.Int64).alias("width_us"),
        to_whole("frequency_hz", 1_000).alias("frequency_mhz"),
        to_whole("on_s", 1_000).alias("on_ms"),
        to_whole("off_min", 60_000).alias("off_ms"),
    ]


def number_vectors(settings: pl.DataFrame, interrogations: pl.DataFrame, convention: Convention) -> Vectors:
    """Give every distinct vector a number; an interrogation reads only when all five of its columns are filled.

    Two facts of one device in the same millisecond: the later one in microseconds is what holds.
    """
    reads = pl.all_horizontal(pl.col(c).is_not_null() for c in VECTOR)
    eos = (pl.col("battery_status") == "eos").fill_null(False)
    programmed = settings.sort("effective_at").select("device_key", to_ms("effective_at").alias("t"), *_whole_vector())
    read_back = interrogations.sort("interrogated_at").select(
        "device_key", to_ms("interrogated_at").alias("t"), *_whole_vector(), reads=reads, eos=eos
    )
    distinct = pl.concat([programmed.select(WHOLE_VECTOR), read_back.filter("reads").select(WHOLE_VECTOR)]).unique()
    numbered = distinct.sort(WHOLE_VECTOR).with_row_index("vector").with_columns(pl.col("vector").cast(pl.Int64))
    at = ("device_key", "t")
    return Vectors(
        cycles=with_cycle(numbered, convention).select(
            "vector", "current_ua", "cycle_ms", "charge_pc", "pulses_milli", "on_ms"
        ),
        settings=programmed.join(numbered, on=WHOLE_VECTOR, how="left", maintain_order="left")
        .group_by(at, maintain_order=True)
        .agg(set=pl.col("vector").last()),
        readings=read_back.filter(pl.col("reads") | pl.col("eos"))
        .join(numbered, on=WHOLE_VECTOR, how="left", maintain_order="left")
        .group_by(at, maintain_order=True)
        .agg(read=pl.col("vector").drop_nulls().last(), eos=pl.col("eos").any()),
    )


def walk_instants(vectors: Vectors) -> pl.DataFrame:
    """Return one row per device and instant of the walk: what holds from then on, and what the next instant says of it.

    Columns: device_key, t, next_t (null at the last), vector (in force from t on), off (battery empty), judged (coverage of
    the piece up to next_t).
    """
    walk = vectors.settings.join(vectors.readings, on=["device_key", "t"], how="full", coalesce=True)
    walk = walk.sort("device_key", "t").with_columns(
        vector=pl.coalesce("set", "read").forward_fill().over("device_key").fill_null(NO_VECTOR),
        off=pl.col("eos").fill_null(False) & pl.col("set").is_null(),
    )
    later = walk.with_columns(
        pl.col(c).shift(-1).over("device_key").alias(f"next_{c}") for c in ("t", "set", "read")
    )
    reads, seen = pl.col("next_read").is_not_null(), pl.col("next_read")
    return later.select(
        "device_key", "t", "next_t", "vector", "off",
        judged=pl.when(reads & (seen == pl.col("vector"))).then(CONFIRMED)
        .when(reads & (seen != pl.col("next_set")).fill_null(True)).then(UNKNOWN)
        .otherwise(CARRIED),
    )  # fmt: skip


def _judged_pieces(instants: pl.DataFrame, carry_limit_ms: int) -> list[pl.DataFrame]:
    """Cut every interval between two instants: one piece, or carried up to the limit and unknown after it."""
    limit = pl.col("t") + carry_limit_ms
    whole = instants.with_columns(end_ms=pl.col("next_t").fill_null(OPEN_END_MS), start_ms=pl.col("t"))
    carried = pl.col("judged") == CARRIED
    columns = ("device_key", "start_ms", "end_ms", "a_ms", "e_ms", "vector", "off", "coverage")
    first = whole.with_columns(
        end_ms=pl.when(carried).then(pl.min_horizontal("end_ms", limit)).otherwise("end_ms"), coverage=pl.col("judged")
    )
    rest = whole.filter(carried & (pl.col("end_ms") > limit)).with_columns(start_ms=limit, coverage=pl.lit(UNKNOWN))
    return [part.select(columns).with_columns(pl.col("coverage").cast(pl.Int8)) for part in (first, rest)]


def _before_first(devices: pl.DataFrame, instants: pl.DataFrame) -> pl.DataFrame:
    """From activation to the first instant nobody knows what was programmed; without any instant, to the end."""
    first = instants.group_by("device_key").agg(end_ms=pl.col("t").min())
    return devices.join(first, on="device_key", how="left").select(
        "device_key", pl.col("a_ms").alias("start_ms"), pl.col("end_ms").fill_null(pl.col("e_ms")), "a_ms", "e_ms",
        vector=pl.lit(None, pl.Int64), off=pl.lit(False), coverage=pl.lit(UNKNOWN, pl.Int8),
    )  # fmt: skip


def _with_amounts(pieces: pl.DataFrame, cycles: pl.DataFrame) -> pl.DataFrame:
    """Attach the cycle of the vector; nothing flows without a vector, and nothing when the battery is empty."""
    joined = pieces.join(cycles, on="vector", how="left")
    flowing = ("charge_pc", "pulses_milli", "on_ms", "current_ua")
    return joined.with_columns(
        pl.when("off").then(0).otherwise(pl.col(c).fill_null(0)).alias(c) for c in flowing
    ).select(
        pl.when(pl.col("coverage") == UNKNOWN).then(UNKNOWN_STREAM).otherwise(NORMAL).cast(pl.Int8).alias("stream"),
        pl.col("cycle_ms").fill_null(1),
        pl.col("vector").is_not_null().alias("rate_known"),
        pl.lit(0, pl.Int8).alias("sessions"),
        "device_key", "start_ms", "end_ms", "coverage", *flowing,
    ).select(PIECE_COLUMNS)  # fmt: skip
