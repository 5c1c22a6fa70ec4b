"""What the DAGs share: how a task calls the command ``nightshelf``, and which failures are tried again.

Exit codes of the command: 2 usage or configuration and 3 gate refused give the same answer every time, so they end the
task at once; everything else (75 temporary, killed, out of memory) is retried with growing pauses.
"""

import re
from datetime import timedelta
from pathlib import Path

from airflow.sdk import RetryDecision, RetryPolicy
from nightshelf_operator import JobOperator

PROJECT = Path(__file__).parents[1]  # the settings' relative paths start here
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",  # log lines appear while the job works
    "NIGHTSHELF_RESOURCES__END_WITH_PARENT": "true",  # killed with its task, a try never meets the one before
}
FINAL = {2: "usage or configuration", 3: "the data gate refused"}


class FinalExitCodes(RetryPolicy):
    """Fail at once on an exit code of ``FINAL``; BashOperator has the code in its message only."""

    def evaluate(self, exception, try_number, max_tries, context=None) -> RetryDecision:
        found = re.search(r"exit code (\d+)", str(exception))
        code = int(found[1]) if found else None
        return RetryDecision.fail(f"exit code {code}: {FINAL[code]}") if code in FINAL else RetryDecision.default()

    def serialize(self) -> dict:
        return {}


DEFAULT_ARGS = {
    "owner": "nightshelf",
    "retries": 3,
    "retry_policy": FinalExitCodes(),
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
}


def nightshelf(task_id: str, arguments: str, operator: type[JobOperator] = JobOperator, **options) -> JobOperator:
    """A task that runs ``nightshelf ARGUMENTS`` in the project's folder; its last line of output becomes its XCom."""
    return operator(
        task_id=task_id,
        bash_command=f"nightshelf {arguments}",
        cwd=str(PROJECT),
        env=ENVIRONMENT,
        append_env=True,
        skip_on_exit_code=None,
        **options,
    )
