"""The link from a task to the page it wrote, and the operator that has it.

The page is in the lake; Airflow's API server hands it out where the plugin ``deploy/plugins/nightshelf_reports.py`` is
installed.
"""

import re
from urllib.parse import urlsplit

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
        prefix = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
        return prefix + path if path else ""


def report_path(line: str | None) -> str:
    """Where the API server hands out the page a line of output names; empty when it names none."""
    named = NAME.search(line or "")
    return f"/nightshelf/reports/{named[1]}" if named else ""


class ReportOperator(JobOperator):
    """A task whose last line of output is the path of a report."""

    operator_extra_links = (ReportLink(),)
