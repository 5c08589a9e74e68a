# SPDX-License-Identifier: Apache-2.0
"""The command `vnsight`. Exit codes: 0 ok, 1 a run failed, 2 the call was wrong, 3 data held back by the gate.

Heavy libraries are imported inside the commands: `vnsight --help` must not wait for them.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir

import cyclopts

from flows.commands import answers, cluster, files, metrics, opened, report, runs, stream, workspaces
from flows.terminal import ERR
from schemas.errors import VNSightError

EPILOGUE = "Exit codes: 0 ok, 1 run failed, 2 wrong call, 3 data held back by the gate (the published marts stay as they were)."

app = cyclopts.App(
    name="vnsight", help="Who gets better on vagus nerve stimulation, at which dose, and who does not?", help_epilogue=EPILOGUE,
    version_flags=["--version"], help_format="plaintext", exit_on_error=False, print_error=True, result_action="return_value",
    suppress_keyboard_interrupt=False,
)  # fmt: skip
for command in (
    workspaces.demo, workspaces.init, workspaces.simulate, workspaces.definitions, runs.run, runs.status, runs.refresh,
    answers.sql, answers.hash, answers.trace, answers.keys, files.score, files.dose, report.report, stream.stream, metrics.metrics,
):  # fmt: skip
    app.command(command)
app.command(cluster.cluster)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:  # libraries speak when they fail, whatever level they set themselves
        handler.addFilter(lambda r: r.levelno >= logging.ERROR or r.name.startswith("vnsight"))
    try:
        code = app(sys.argv[1:] if arguments is None else arguments)
    except cyclopts.CycloptsError:
        sys.exit(2)  # the message is printed already
    except VNSightError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("stopped; nothing half-done was published, run again to go on", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence: keep the traceback, show one line
        _report_crash(error)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    """One line, red on a terminal; never wrapped, so that it can be searched for."""
    ERR.print(f"error: {message}", style="red", markup=False, soft_wrap=True)


def _report_crash(error: Exception) -> None:
    """Keep the traceback in the workspace: it may quote data, which must not lie about in a temporary folder."""
    folder = opened[-1].home / "reports" if opened else Path(gettempdir())
    place = folder / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    first = str(error).partition("\n")[0]
    try:
        folder.mkdir(exist_ok=True)
        place.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()
    _complain(f"{type(error).__name__}: {first}")
    ERR.print(f"This is a fault of VNSight, not of your data; the details are in {place}", soft_wrap=True)


if __name__ == "__main__":
    main()
