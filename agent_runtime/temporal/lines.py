"""What Temporal knows of a queue: who asks for its work, and how much of it waits."""

from collections.abc import Sequence

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client

KINDS: Sequence[TaskQueueType.ValueType] = (
    TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
)


async def polled(client: Client, queue: str) -> bool:
    """Whether somebody asks for workflows and for activities there."""
    for kind in KINDS:
        if not (await _described(client, queue, kind)).pollers:
            return False
    return True


async def backlog(client: Client, queue: str) -> int:
    """How many tasks wait there for a worker, as Temporal estimates it."""
    told = [await _described(client, queue, kind) for kind in KINDS]
    return sum(one.stats.approximate_backlog_count for one in told)


async def under_way(client: Client, queue: str) -> int:
    """How many runs of this queue have not ended; Temporal tells it a moment late."""
    return (await client.count_workflows(f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'")).count


async def _described(client: Client, queue: str, kind: TaskQueueType.ValueType) -> DescribeTaskQueueResponse:
    asked = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind, report_stats=True
    )
    return await client.workflow_service.describe_task_queue(asked)
