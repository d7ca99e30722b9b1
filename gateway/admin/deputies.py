"""What a tenant-admin may do to limits and budgets: narrow what its tenant has, never widen it."""

from gateway.admin.access import OWN_ADMIN, Access
from gateway.admin.endpoint import Call
from gateway.admin.office import Office
from gateway.admin.problems import Problem
from gateway.admin.threads import in_thread
from gateway.domain.tenancy import Role

WRITE = Access(OWN_ADMIN, own=True)
"""The row of the endpoints behind which these checks stand."""

DIMENSIONS = frozenset({"key", "user"})
"""What a tenant-admin may set limits and budgets for: parts of its tenant, never the tenant itself."""


def check_dimension(call: Call, dimension: str) -> None:
    """Raises Problem 403."""
    if call.principal.role is Role.TENANT_ADMIN and dimension not in DIMENSIONS:
        detail = "a tenant-admin sets limits and budgets for its keys and users; those of the tenant are the operator's"
        raise Problem(403, "Forbidden", detail)


async def check_loosened(call: Call, office: Office, kind: str, object_id: str, dimension: str) -> None:
    """What stands beside other limits only narrows them; what an operator has set may not be taken away.

    Raises Problem 403.
    """
    check_dimension(call, dimension)
    if call.principal.role is not Role.TENANT_ADMIN:
        return
    if await in_thread(office.store.set_by, kind, object_id) != Role.TENANT_ADMIN.value:
        detail = f"this {kind} was set by an operator; a tenant-admin can add a narrower one beside it"
        raise Problem(403, "Forbidden", detail)
