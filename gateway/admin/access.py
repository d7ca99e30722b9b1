"""Who may do what: a role for each principal, a row for each endpoint, and no for everything else."""

from dataclasses import dataclass

from gateway.admin.problems import Problem, not_found
from gateway.domain.tenancy import Role

VIEW = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
OPERATE = frozenset({Role.ADMIN, Role.OPERATOR})
OWN_ADMIN = frozenset({Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `tenant` is set for a tenant-admin, and for nobody else."""

    id: str
    role: Role
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """The row of an endpoint. `own` lets a tenant-admin in, for the tenant in the path or, without one, its own."""

    roles: frozenset[Role]
    own: bool = False

    def check(self, principal: Principal, tenant: str | None) -> None:
        """Raises Problem 403, or 404 for another tenant's object."""
        if principal.role is Role.TENANT_ADMIN:
            if not self.own:
                raise Problem(403, "Forbidden", f"the role {principal.role.value!r} may not do this")
            if tenant is not None and tenant != principal.tenant:
                raise not_found("tenant", tenant)
        elif principal.role not in self.roles:
            raise Problem(403, "Forbidden", f"the role {principal.role.value!r} may not do this")
