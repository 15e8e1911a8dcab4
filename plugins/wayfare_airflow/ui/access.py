"""Who may look: the app's one dependency, on Airflow's own users and permissions."""

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import HTTPException, Request, status

from wayfare.analyses import registry


def authorize(request: Request, user: GetUserDep) -> None:
    """Let in who may read the task logs of the page's analysis, or of all DAGs where a page is not about one.

    Only the path says which analysis it is: a query could name one that the user may read.
    """
    analysis = request.path_params.get("analysis")
    dag_ids = [analysis] if analysis else list(registry.analyses())
    if not dag_ids:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden: no analysis is left; `wayfare check` says why")
    for dag_id in dag_ids:
        details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
        if not get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.TASK_LOGS, details=details, user=user
        ):
            raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden")
