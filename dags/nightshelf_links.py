"""The link from a task to the page it wrote, and the operator that has it.

The page is in the lake; Airflow's API server hands it out where the plugin ``deploy/plugins/nightshelf_reports.py`` is
installed.
"""

import re
from urllib.parse import urlsplit

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.xcom import XCom

NAME = re.compile(r"/reports/(as_of=\w+/v=\w+\.html)$")


class ReportLink(BaseOperatorLink):
    """Airflow calls it when the task has ended and keeps what it says."""

    name = "Report"

    def get_link(self, operator, *, ti_key) -> str:
        """The path, on the server the UI comes from, of the page the task named last; empty when it named none."""
        named = NAME.search(XCom.get_value(ti_key=ti_key, key="return_value") or "")
        prefix = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
        return f"{prefix}/nightshelf/reports/{named[1]}" if named else ""


class ReportOperator(BashOperator):
    """A task whose last line of output is the path of a report."""

    operator_extra_links = (ReportLink(),)
