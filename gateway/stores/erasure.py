"""How far an order to forget a user can be carried out: up to where no budget counts entries with its name."""

from gateway.domain.tenancy import ErasureRow
from gateway.filing import DirectoryStore, LedgerReports


def carry_out(
    order: ErasureRow, directory: DirectoryStore, ledger: LedgerReports, now_s: float, from_s: float = 0.0
) -> tuple[int, float]:
    """Of entries since `from_s`: how many lose the name now, and up to when all have. Blocks; raises StoreFailed."""
    budgets = [row.budget for row in directory.snapshot().budgets if row.budget.tenant == order.tenant]
    held_by = order.held_by(budgets, now_s)
    to_s = min([order.created_at_s, *(budget.window(now_s).starts_s for budget in held_by)])
    named = [budget.id for budget in budgets if budget.per != "user"]
    return ledger.forget(order, from_s, to_s, named), to_s
