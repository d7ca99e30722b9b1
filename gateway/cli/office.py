"""The commands over the admin API: tenants, keys, budgets, limits, usage, ledger, targets."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.exports import rows_of
from gateway.cli.remote import Remote, done, fail, show

Url = Annotated[str | None, typer.Option(help="The admin API; else METERWAY_ADMIN_URL, else http://127.0.0.1:8081.")]
Json = Annotated[bool, typer.Option("--json", help="JSON, also on a terminal.")]
Tenant = Annotated[str, typer.Argument(help="The tenant's id.")]
Object = Annotated[str, typer.Argument(help="The object's id.")]

tenants = typer.Typer(no_args_is_help=True, help="Who may call.")
keys = typer.Typer(no_args_is_help=True, help="The keys of a tenant.")
budgets = typer.Typer(no_args_is_help=True, help="How much a tenant may spend.")
limits = typer.Typer(no_args_is_help=True, help="How fast a tenant may call.")
ledger = typer.Typer(no_args_is_help=True, help="Every charge, and whether the books agree.")
targets = typer.Typer(no_args_is_help=True, help="Deployments and their health.")

TENANT = ["id", "name", "models", "blocked", "created_at"]
KEY = ["id", "name", "user", "tags", "models", "expires_at", "revoked_at"]
BUDGET = ["id", "usd", "tokens", "per", "for", "of", "spent", "resets_at", "mode"]
LIMIT = ["id", "for", "of", "requests_per_minute", "tokens_per_minute", "concurrent", "mode"]


@tenants.command("list")
def list_tenants(url: Url = None, as_json: Json = False) -> None:
    """All tenants."""
    show(list(Remote(url).items("/tenants")), TENANT, as_json=as_json)


@tenants.command("create")
def create_tenant(
    tenant: Tenant,
    name: Annotated[str, typer.Option(help="For people to read.")] = "",
    model: Annotated[list[str] | None, typer.Option(help="A model it may use; may be repeated; none is all.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """A new tenant; give it a key and a budget next."""
    made = Remote(url).ask("POST", "/tenants", {"id": tenant, "name": name, "models": model or []})
    show([made], TENANT, as_json=as_json)


@tenants.command("show")
def show_tenant(tenant: Tenant, url: Url = None, as_json: Json = False) -> None:
    """One tenant."""
    show([Remote(url).ask("GET", f"/tenants/{quote(tenant)}")], TENANT, as_json=as_json)


@tenants.command("block")
def block_tenant(
    tenant: Tenant,
    undo: Annotated[bool, typer.Option("--undo", help="Let it call again.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Refuse all its keys, at once."""
    remote, path = Remote(url), f"/tenants/{quote(tenant)}"
    changed = remote.ask("PATCH", path, {"blocked": not undo}, etag=remote.revision(path))
    show([changed], TENANT, as_json=as_json)


@tenants.command("delete")
def delete_tenant(tenant: Tenant, url: Url = None, as_json: Json = False) -> None:
    """With its keys, limits and budgets; its charges stay in the ledger."""
    _delete(f"/tenants/{quote(tenant)}", {"deleted": tenant}, url, as_json=as_json)


@keys.command("list")
def list_keys(tenant: Tenant, url: Url = None, as_json: Json = False) -> None:
    """Its keys, never their secrets."""
    show(list(Remote(url).items(f"/tenants/{quote(tenant)}/keys")), KEY, as_json=as_json)


@keys.command("create")
def create_key(
    tenant: Tenant,
    name: Annotated[str, typer.Option(help="For people to read.")] = "",
    user: Annotated[str | None, typer.Option(help="The user that its requests are booked under.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be repeated.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, e.g. 2027-01-01T00:00:00Z.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """The whole key is shown once, now."""
    tags = dict(one.split("=", 1) if "=" in one else fail(f"--tag {one!r}: write NAME=VALUE") for one in tag or ())
    body = {"name": name, "user": user, "models": model or [], "tags": tags, "expires_at": expires}
    made = Remote(url).ask("POST", f"/tenants/{quote(tenant)}/keys", body)
    show([made], ["id", "key"], as_json=as_json)


@keys.command("rotate")
def rotate_key(
    tenant: Tenant,
    key: Object,
    overlap_s: Annotated[int, typer.Option(help="How long the old key works on.")] = 86_400,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """A new key, shown once."""
    path = f"/tenants/{quote(tenant)}/keys/{quote(key)}/rotate"
    show([Remote(url).ask("POST", path, {"overlap_s": overlap_s})], ["id", "key"], as_json=as_json)


@keys.command("revoke")
def revoke_key(tenant: Tenant, key: Object, url: Url = None, as_json: Json = False) -> None:
    """Everywhere within a second."""
    Remote(url).ask("DELETE", f"/tenants/{quote(tenant)}/keys/{quote(key)}")
    done({"revoked": key}, as_json=as_json)


@budgets.command("list")
def list_budgets(tenant: Tenant, url: Url = None, as_json: Json = False) -> None:
    """Its budgets, and what is spent of them."""
    show(list(Remote(url).items(f"/tenants/{quote(tenant)}/budgets")), BUDGET, as_json=as_json)


@budgets.command("set")
def set_budget(
    tenant: Tenant,
    per: Annotated[str, typer.Option(help="hour, day, week, month or lifetime.")],
    usd: Annotated[str | None, typer.Option(help="Dollars, at most nine decimals.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Instead of dollars.")] = None,
    each: Annotated[str, typer.Option("--for", help="tenant, key, user, run, model or tag:NAME.")] = "tenant",
    of: Annotated[str | None, typer.Option(help="Only this value of --for.")] = None,
    zone: Annotated[str, typer.Option(help="Where its days begin, e.g. Europe/Berlin.")] = "UTC",
    mode: Annotated[str, typer.Option(help="enforce or shadow.")] = "enforce",
    when_short: Annotated[str, typer.Option(help="clamp or refuse what fits only smaller.")] = "clamp",
    store_away: Annotated[str, typer.Option(help="local, deny or allow: while Redis is away.")] = "local",
    threshold: Annotated[list[int] | None, typer.Option(help="Percent that is told; may be repeated.")] = None,
    budget: Annotated[str | None, typer.Option("--id", help="An existing budget, to replace it.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Creates a budget, or replaces the one of --id."""
    body: dict[str, Any] = {"per": per, "for": each, "of": of, "zone": zone, "mode": mode}
    body |= {"when_short": when_short, "store_away": store_away}
    body |= {"usd": usd} if usd is not None else {"tokens": tokens}
    body |= {"thresholds": threshold} if threshold else {}
    remote, path = Remote(url), f"/tenants/{quote(tenant)}/budgets"
    if budget is None:
        made = remote.ask("POST", path, body)
    else:
        one = f"{path}/{quote(budget)}"
        made = remote.ask("PUT", one, body, etag=remote.revision(one))
    show([made], BUDGET, as_json=as_json)


@budgets.command("delete")
def delete_budget(tenant: Tenant, budget: Object, url: Url = None, as_json: Json = False) -> None:
    """What was spent stays in the ledger."""
    _delete(f"/tenants/{quote(tenant)}/budgets/{quote(budget)}", {"deleted": budget}, url, as_json=as_json)


@limits.command("list")
def list_limits(tenant: Tenant, url: Url = None, as_json: Json = False) -> None:
    """Its limits."""
    show(list(Remote(url).items(f"/tenants/{quote(tenant)}/limits")), LIMIT, as_json=as_json)


@limits.command("create")
def create_limit(
    tenant: Tenant,
    requests_per_minute: Annotated[int | None, typer.Option()] = None,
    tokens_per_minute: Annotated[int | None, typer.Option()] = None,
    concurrent: Annotated[int | None, typer.Option()] = None,
    each: Annotated[str, typer.Option("--for", help="tenant, key, user or model.")] = "tenant",
    of: Annotated[str | None, typer.Option(help="Only this value of --for.")] = None,
    mode: Annotated[str, typer.Option(help="enforce or shadow.")] = "enforce",
    store_away: Annotated[str, typer.Option(help="local, deny or allow: while Redis is away.")] = "local",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Requests or tokens a minute, or concurrent requests."""
    body = {
        "mode": mode,
        "store_away": store_away,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent": concurrent,
        "for": each,
        "of": of,
    }
    show([Remote(url).ask("POST", f"/tenants/{quote(tenant)}/limits", body)], LIMIT, as_json=as_json)


@limits.command("delete")
def delete_limit(tenant: Tenant, limit: Object, url: Url = None, as_json: Json = False) -> None:
    """From the next request on."""
    _delete(f"/tenants/{quote(tenant)}/limits/{quote(limit)}", {"deleted": limit}, url, as_json=as_json)


def usage(
    group_by: Annotated[
        str, typer.Option(help="tenant, key, user, model, provider, provider_model, run, session, tag:NAME; by commas.")
    ] = ("tenant,model"),
    tenant: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    bucket: Annotated[str | None, typer.Option(help="hour or day.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="E.g. 2026-11-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to here.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """What was used and what it cost."""
    asked = {"group_by": group_by, "tenant": tenant, "bucket": bucket, "from": since, "to": until}
    rows = [{**row.pop("group"), **row} for row in Remote(url).items("/usage", **asked)]
    columns = [*group_by.split(","), *(["bucket"] if bucket else [])]
    figures = ["requests", "replays", "input_tokens", "output_tokens", "cached_tokens", "usd"]
    show(rows, [*columns, *figures], as_json=as_json)


@ledger.command("export")
def export_ledger(
    tenant: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, whatever --format says.")] = False,
) -> None:
    """Every entry, to standard output."""
    Remote(url).export("/ledger", format="jsonl" if as_json else form, tenant=tenant)


@ledger.command("verify")
def verify_ledger(url: Url = None, as_json: Json = False) -> None:
    """Whether the books agree with themselves, and the counters with the books; the exit code is 1 when they do not."""
    said = Remote(url).ask("GET", "/ledger/verify")
    if as_json:
        done(said, as_json=True)
    for line in () if as_json else said["differences"]:
        typer.echo(line)
    if not said["agree"]:
        raise typer.Exit(1)
    if not as_json:
        typer.echo("the books agree", err=True)


@ledger.command("adjust")
def adjust_ledger(
    tenant: Tenant,
    usd: Annotated[str, typer.Option(help="What is added; negative gives back.")],
    cause: Annotated[str, typer.Option(help="Why, for those who read the books.")],
    budget: Annotated[str | None, typer.Option(help="Only this budget.")] = None,
    of: Annotated[str | None, typer.Option(help="Whose account of it, e.g. the user.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """A correction by hand, as an entry of its own."""
    body = {"tenant": tenant, "usd": usd, "cause": cause, "budget": budget, "of": of}
    done(Remote(url).ask("POST", "/ledger/adjust", body), "attempt_id", as_json=as_json)


@ledger.command("erase")
def erase_user(
    tenant: Tenant,
    user: Annotated[str, typer.Option(help="As requests named it.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Forget a user: an alias stands in the ledger in its place; every figure stays.

    What a budget for users still counts keeps the name until that budget's window ends.
    """
    said = Remote(url).ask("POST", f"/tenants/{quote(tenant)}/erasures", {"user": user})
    if as_json:
        done(said, as_json=True)
        return
    typer.echo(f"{said['entries']} entries are of {said['id']} now")
    if said["held_by"]:
        end = said["held_until"] or "they are deleted"
        typer.echo(f"others follow by themselves; these budgets count them until {end}: {', '.join(said['held_by'])}")


@ledger.command("rerate")
def rerate_ledger(
    provider: Annotated[str, typer.Option(help="Its name in the configuration.")],
    model: Annotated[str, typer.Option(help="As the provider calls it.")],
    since: Annotated[str, typer.Option("--from", help="E.g. 2026-11-01T00:00:00Z.")],
    cause: Annotated[str, typer.Option(help="Why, for those who read the books.")],
    until: Annotated[str | None, typer.Option("--to", help="Up to here; now, where it is left out.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Put right what attempts cost, by the price that is in force now; says how many entries that took."""
    body = {"provider": provider, "model": model, "from": since, "to": until, "cause": cause}
    done(Remote(url).ask("POST", "/ledger/rerate", body), "entries", as_json=as_json)


@ledger.command("reconcile")
def reconcile_ledger(
    file: Annotated[Path, typer.Argument(help="A provider's usage export: CSV or JSON lines.")],
    provider: Annotated[str, typer.Option(help="Whose export it is, by its name in the configuration.")],
    since: Annotated[str | None, typer.Option("--from", help="E.g. 2026-11-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to here.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Compare it with the ledger; the exit code is 1 where they differ.

    Needs the columns model, input_tokens and output_tokens; takes day (of UTC) and usd.
    """
    body = {"provider": provider, "from": since, "to": until, "rows": rows_of(file)}
    said = Remote(url).ask("POST", "/ledger/reconcile", body)
    shown = [{**line, **_beside(line)} for line in said["lines"]]
    show(shown, ["day", "model", "input_tokens", "output_tokens", "usd", "agree"], as_json=as_json)
    if not said["agree"]:
        raise typer.Exit(1)


@targets.command("list")
def list_targets(url: Url = None, as_json: Json = False) -> None:
    """Every deployment and its health."""
    columns = ["deployment", "circuit", "pause", "pause_left_s", "in_flight", "transitions"]
    show(list(Remote(url).items("/targets")), columns, as_json=as_json)


Deployment = Annotated[str, typer.Argument(help="As `targets list` names it.")]


@targets.command("open")
def open_target(deployment: Deployment, url: Url = None, as_json: Json = False) -> None:
    """Take it out of service at once: its circuit is open until it is closed."""
    _set_target(deployment, "open", url, as_json=as_json)


@targets.command("drain")
def drain_target(deployment: Deployment, url: Url = None, as_json: Json = False) -> None:
    """Give it nothing new; what runs there may end."""
    _set_target(deployment, "drain", url, as_json=as_json)


@targets.command("close")
def close_target(deployment: Deployment, url: Url = None, as_json: Json = False) -> None:
    """Bring it back."""
    _set_target(deployment, "serve", url, as_json=as_json)


def _set_target(deployment: str, state: str, url: str | None, *, as_json: bool) -> None:
    done(Remote(url).ask("POST", f"/targets/{quote(deployment)}", {"state": state}), as_json=as_json)


def _delete(path: str, told: dict[str, Any], url: str | None, *, as_json: bool) -> None:
    remote = Remote(url)
    remote.ask("DELETE", path, etag=remote.revision(path))
    done(told, as_json=as_json)


def _beside(line: dict[str, Any]) -> dict[str, str]:
    """`theirs / ours` where they differ."""
    theirs, ours = line["theirs"], line["ours"]
    told = {}
    for name in ("input_tokens", "output_tokens", "usd"):
        same = theirs[name] is None or theirs[name] == ours[name]
        told[name] = str(ours[name]) if same else f"{theirs[name]} / {ours[name]}"
    return told
