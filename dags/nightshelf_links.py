"""Links from tasks to the page about their run, and the operators that have them.

The page is in the lake; Airflow's API server hands it out where the plugin ``deploy/plugins/nightshelf_reports.py`` is
installed.
"""

import re
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.xcom import XCom
from nightshelf_operator import JobOperator

NAME = re.compile(r"/reports/(as_of=\w+/v=\w+\.html)$")


class ReportLink(BaseOperatorLink):
    """Airflow calls it when the task has ended and keeps what it says."""

    name = "Report"

    def get_link(self, operator, *, ti_key) -> str:
        """The path, on the server the UI comes from, of the page the task named last; empty when it named none."""
        path = report_path(XCom.get_value(ti_key=ti_key, key="return_value"))
        return prefix() + path if path else ""


class RunReportLink(BaseOperatorLink):
    """For a task that ends before the page is written: the server looks for it when somebody follows the link."""

    name = "Report"

    def get_link(self, operator, *, ti_key) -> str:
        return f"{prefix()}/nightshelf/runs/{quote(ti_key.run_id)}/report"


def prefix() -> str:
    """Where the server the UI comes from begins."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def report_path(line: str | None) -> str:
    """Where the API server hands out the page a line of output names; empty when it names none."""
    named = NAME.search(line or "")
    return f"/nightshelf/reports/{named[1]}" if named else ""


class ReportOperator(JobOperator):
    """A task whose last line of output is the path of a report."""

    operator_extra_links = (ReportLink(),)


class ReportedOperator(JobOperator):
    """A task whose run has a report, written after it: a gate that refused is read about there."""

    operator_extra_links = (RunReportLink(),)
