"""What is retried and what is not, as Airflow decides it."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from wayfare.errors import ConfigurationError, DataError, DeclarationError, GateError, ServiceError


@pytest.mark.parametrize(
    "kind",
    [DataError, GateError, ConfigurationError, DeclarationError, KeyError, TypeError, ImportError, ZeroDivisionError],
)
def test_faults_that_no_retry_mends_fail_at_once(kind: type[Exception]) -> None:
    assert _decision(kind("wrong")) == "fail"


@pytest.mark.parametrize(
    "error",
    [ServiceError("no answer"), OperationalError("SELECT 1", {}, Exception()), OSError("disk"), ConnectionError()],
)
def test_faults_of_services_are_retried_with_the_task_s_backoff(error: Exception) -> None:
    assert _decision(error) == "default"


def _decision(error: Exception) -> str:
    from wayfare_airflow.retries import RETRY_POLICY

    decision = RETRY_POLICY.evaluate(error, try_number=1, max_tries=4)
    assert decision.retry_delay is None
    return str(decision.action.value)
