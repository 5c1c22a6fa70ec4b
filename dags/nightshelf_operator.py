"""A task that runs a command and, where that fails, keeps its exit code and its last words for whoever is told."""

from functools import cached_property

from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException

FAILURE = "failure"  # the XCom


class TalkingHook(SubprocessHook):
    """Keeps how the command ended."""

    ended: SubprocessResult | None = None

    def run_command(self, *args, **options) -> SubprocessResult:
        self.ended = super().run_command(*args, **options)
        return self.ended


class JobOperator(BashOperator):
    """As BashOperator; a failure's message, and its XCom ``failure``, say what the command printed last."""

    @cached_property
    def subprocess_hook(self) -> TalkingHook:
        return TalkingHook()

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowException as error:
            ended = self.subprocess_hook.ended
            if ended is None:
                raise
            context["ti"].xcom_push(FAILURE, {"exit_code": ended.exit_code, "line": ended.output})
            raise AirflowException(f"{error} {ended.output}") from None
