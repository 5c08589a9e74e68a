# SPDX-License-Identifier: Apache-2.0
"""`vnsight run`: the nightly Prefect flow, run here and now, with progress for whoever is looking."""

from __future__ import annotations

import logging

from flows.prefect_server import server_for
from flows.steps import Outcome, Progress
from schemas.workspace import Workspace


def run_nightly(ws: Workspace, progress: Progress, rebuild: bool = False) -> Outcome:
    """Run the flow and say how it ended; a load that was held back is an outcome too. Other failures are raised as they are."""
    progress("prefect", 0, 1)
    with server_for(ws) as ready:
        from flows.prefect_flow import LoadHeld, nightly, send_what_is_left, watched_by

        logging.getLogger("prefect").propagate = False  # its lines go to the log of the flow run; the terminal has our own
        ready()
        progress("prefect", 1, 1)
        try:
            with watched_by(progress):
                outcome: Outcome = nightly(str(ws.home), rebuild)
        except LoadHeld as held:
            return held.outcome
        finally:
            send_what_is_left()
        return outcome
