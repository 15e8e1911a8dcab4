"""What is retried: the one place that says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from wayfare.errors import ConfigurationError, DataError, DeclarationError

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[DataError, ConfigurationError, DeclarationError],
            action=RetryAction.FAIL,
            reason="The data, a setting or a declaration is at fault: a retry would give the same answer",
        ),
        RetryRule(
            exception=[
                ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError,
                NotImplementedError, SyntaxError, TypeError, ValueError,
            ],
            action=RetryAction.FAIL,
            reason="The code is at fault: a retry would give the same answer",
        ),
    ],
    default=RetryAction.DEFAULT,
)  # fmt: skip
"""Faults that a retry cannot fix fail at once; others (databases, storage, timeouts) are retried with backoff."""

DEFAULT_ARGS: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=2),
}
"""How often tasks of Wayfare's own DAGs are retried, and when they are given up; every operator has the policy."""
