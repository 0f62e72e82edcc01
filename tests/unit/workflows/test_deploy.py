"""A deploy goes through its steps once each, and its memo says how it has ended, whatever that was."""

from datetime import timedelta

from activities.heartbeat import SHORT_INTERVAL
from callboard.schemas.workflow import names
from callboard.schemas.workflow.deploy import DeployStatus
from tests.support.deploy_shapes import AWAY, REFUSED, VERSION, DeployStage
from tests.support.run_stage import scheduled
from tests.support.shapes import Play

FAILED = "The deploy has failed. What was deployed before is not changed."


async def test_a_deploy_is_checked_built_and_published(play_deploy: Play[DeployStage]):
    deployed = await play_deploy("deploy-completed")
    assert deployed.asked == ["check", "build", "publish", "remove"]
    assert (deployed.view.status, deployed.view.message) == (
        DeployStatus.COMPLETED,
        f"Version {VERSION} is deployed.",
    )
    assert deployed.view.published is not None

    # A step whose worker is killed is begun anew within fifteen seconds.
    for step in scheduled((await deployed.handle.fetch_history()).events):
        silence = step.heartbeat_timeout.ToTimedelta()
        if step.activity_type.name == names.REMOVE_UPLOAD:  # which sends none
            silence = step.start_to_close_timeout.ToTimedelta()
        assert silence.total_seconds() > 2 * SHORT_INTERVAL, "one heartbeat may be lost"
        assert silence + step.retry_policy.initial_interval.ToTimedelta() < timedelta(seconds=15)


async def test_what_is_wrong_with_the_project_is_its_reason(play_deploy: Play[DeployStage]):
    deployed = await play_deploy("deploy-refused")
    assert deployed.asked == ["check"]
    assert (deployed.view.status, deployed.view.message, deployed.view.reason) == (DeployStatus.FAILED, FAILED, REFUSED)
    assert deployed.failure == f"DeployFailed: {REFUSED}"


async def test_files_of_jobs_are_applied_by_a_workflow_from_before_the_end(play_deploy: Play[DeployStage]):
    deployed = await play_deploy("deploy-of-jobs")
    assert deployed.view.published is not None
    applying = names.apply_resources_workflow_id("shop", deployed.view.published.deployed_at)
    assert (await deployed.client.get_workflow_handle(applying).describe()).workflow_type == names.APPLY_RESOURCES


async def test_an_outage_is_outlasted_and_what_cannot_be_removed_is_left(play_deploy: Play[DeployStage]):
    deployed = await play_deploy("deploy-store-away-for-a-while")
    assert deployed.asked[:6] == ["check", "build", *["publish"] * 4]
    assert deployed.view.status is DeployStatus.COMPLETED


async def test_nobody_waits_for_ever(play_deploy: Play[DeployStage]):
    away = await play_deploy("deploy-store-away-for-long")
    assert (away.view.status, away.view.message) == (DeployStatus.FAILED, FAILED)
    assert AWAY in (away.view.reason or "")
