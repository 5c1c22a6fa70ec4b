"""Airflow plugin: the API server hands out Nightshelf's reports to whoever may see the nightly DAG, read-only.

``/nightshelf/reports/as_of=…/v=….html`` is what ``nightshelf report --print`` prints, so the API server needs that
command on its PATH and the settings of the lake, as the tasks do. ``/nightshelf/runs/…/report`` leads to the page that
the task ``report`` of that run named. Tasks load Airflow's plugins, too, and shall not wait for the API server's
imports: they happen when the server asks for the app.
"""

import re
import subprocess
from pathlib import Path
from typing import Annotated

from airflow.plugins_manager import AirflowPlugin

PROJECT = Path(__file__).parents[2]  # the settings' relative paths start here
DAG_ID, TASK_ID = "nightly", "report"
NAME = re.compile(r"/(reports/as_of=\d{8}T\d{6}Z/v=[0-9a-f]{16}\.html)$")
TIMEOUT_S = 60
USAGE = 2
HEADERS = {  # titles come from outside: whatever one says, the page runs nothing and asks for nothing
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private",
}


class NightshelfReports(AirflowPlugin):
    """Found by Airflow in its plugins folder."""

    name = "nightshelf_reports"

    @property
    def fastapi_apps(self) -> list[dict]:
        return [{"app": build_app(), "url_prefix": "/nightshelf", "name": "Nightshelf's reports"}]


def build_app():
    """The FastAPI app; what asks without a right to see ``DAG_ID`` gets Airflow's own 401 or 403."""
    from airflow.api_fastapi.core_api.security import DagAccessEntity, requires_access_dag
    from fastapi import Depends, FastAPI
    from fastapi import Path as Part
    from fastapi.responses import HTMLResponse, RedirectResponse

    may_see = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE, param_dag_id=DAG_ID))
    app = FastAPI(title="Nightshelf's reports", dependencies=[may_see], docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/reports/{night}/{page}")
    def report(
        night: Annotated[str, Part(pattern=r"^as_of=\d{8}T\d{6}Z$")],
        page: Annotated[str, Part(pattern=r"^v=[0-9a-f]{16}\.html$")],
    ) -> HTMLResponse:
        return HTMLResponse(printed(f"{night}/{page}"), headers=HEADERS)

    @app.get("/runs/{run_id}/report")
    def of_run(run_id: str) -> RedirectResponse:
        return RedirectResponse(f"../../{named(run_id)}")

    return app


def named(run_id: str) -> str:
    """Where the report of a run is, below this app: 404 before it is written."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from fastapi import HTTPException

    wanted = XComModel.get_many(key="return_value", run_id=run_id, dag_ids=DAG_ID, task_ids=TASK_ID)
    with create_session() as session:
        line = session.scalars(wanted.with_only_columns(XComModel.value)).first()
    if not (found := NAME.search(str(line or "").strip('"'))):
        raise HTTPException(404, f"the run {run_id} has no report yet: its task {TASK_ID} writes it, after the gate")
    return found[1]


def printed(name: str) -> bytes:
    """The report of a name: 404 when the lake has none, 503 when the lake cannot be asked."""
    from fastapi import HTTPException

    argv = ["nightshelf", "report", "--print", name]
    try:
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HTTPException(503, str(error)) from None
    if done.returncode:
        raise HTTPException(404 if done.returncode == USAGE else 503, done.stderr.decode(errors="replace").strip())
    return done.stdout
