"""The retry policy of failed steps."""

from __future__ import annotations

import sys

import dagster as dg

DELAY_S = 5.0


class Retry(dg.RetryPolicy):
    """Retries after 5, 15, 35, ... seconds, unless the run was interrupted.

    Dagster also applies a policy to Ctrl-C and "Terminate", and would continue after the delay;
    here the interruption is raised again and the run ends as cancelled.
    """

    def __new__(cls, max_retries: int) -> Retry:
        backoff = dg.Backoff.EXPONENTIAL
        policy: Retry = super().__new__(cls, max_retries, delay=DELAY_S, backoff=backoff)
        return policy

    def calculate_delay(self, attempt_num: int) -> float:
        """Return the seconds before the next try; raise the current error if it interrupts."""
        error = sys.exception()
        if isinstance(error, KeyboardInterrupt | dg.DagsterExecutionInterruptedError):
            raise error
        return float(super().calculate_delay(attempt_num))
