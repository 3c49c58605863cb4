"""When a failed step is tried again."""

from __future__ import annotations

import sys

import dagster as dg

DELAY_S = 5.0


class Retry(dg.RetryPolicy):
    """Tries again after 5, 15, 35, ... seconds, but never what somebody has stopped.

    Dagster asks a policy about Ctrl-C and about "Terminate" as well, and would go on after the
    delay; here the interruption goes its way and the run ends as cancelled.
    """

    def __new__(cls, max_retries: int) -> Retry:
        backoff = dg.Backoff.EXPONENTIAL
        policy: Retry = super().__new__(cls, max_retries, delay=DELAY_S, backoff=backoff)
        return policy

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds before the next try; raises what is being handled where it is an interruption."""
        error = sys.exception()
        if isinstance(error, KeyboardInterrupt | dg.DagsterExecutionInterruptedError):
            raise error
        return float(super().calculate_delay(attempt_num))
