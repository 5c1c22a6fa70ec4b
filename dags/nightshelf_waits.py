"""The task that waits until every hour of its data interval is in the lake."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowException
from nightshelf_operator import JobOperator

NOT_YET = "exit code 75"  # the code is in the operator's message only
PATIENCE = timedelta(hours=12)


class HoursSensor(BaseSensorOperator, JobOperator):
    """Asks once a minute, holding no slot meanwhile; the last line of output becomes the XCom, as of any other task.

    It gives up 12 hours after the end of the data interval. For an older interval, as in a backfill, waiting would
    bring nothing: there it fails like any temporary failure, so that the usual retries are all its patience.
    """

    def __init__(self, **options):
        options = {"mode": "reschedule", "poke_interval": timedelta(minutes=1), **options}
        super().__init__(timeout=PATIENCE + timedelta(hours=1), **options)

    def poke(self, context) -> PokeReturnValue:
        """Raise AirflowException when the command fails, or says "not yet" too late."""
        try:
            return PokeReturnValue(True, JobOperator.execute(self, context))
        except AirflowException as error:
            if NOT_YET not in str(error) or datetime.now(UTC) > context["data_interval_end"] + PATIENCE:
                raise
        return PokeReturnValue(False)
