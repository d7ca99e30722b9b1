"""Serving, checking, simulating; and the commands of the admin API below them."""

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway.app import serve as serve_gateway
from gateway.app import serve_with
from gateway.cli import office
from gateway.clock import SystemClock
from gateway.config.prices import day_of
from gateway.config.problems import ConfigInvalid
from gateway.config.report import check as check_file
from gateway.config.report import render
from gateway.ports import BankAway, JournalFailed, StoreFailed

app = typer.Typer(
    name="meterway", no_args_is_help=True, add_completion=False, help="The LLM gateway.", pretty_exceptions_enable=False
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The configuration file (YAML).")]

for _name, _commands in (
    ("tenants", office.tenants),
    ("keys", office.keys),
    ("budgets", office.budgets),
    ("limits", office.limits),
    ("ledger", office.ledger),
    ("targets", office.targets),
):
    app.add_typer(_commands, name=_name)
app.command()(office.usage)


@app.command()
def serve(
    config: ConfigFile,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes behind the port; more than one needs Redis.")
    ] = 1,
) -> None:
    """Serve the gateway until it is told to stop (SIGTERM drains, SIGHUP reloads)."""
    try:
        if workers > 1:
            raise typer.Exit(asyncio.run(serve_with(config, workers)))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_gateway(config))
    except ConfigInvalid as error:
        typer.echo(render(error.problems), err=True)
        raise typer.Exit(2) from None
    except (OSError, ValueError, BankAway, JournalFailed, StoreFailed) as error:
        typer.echo(f"meterway serve: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The configuration file to check.")]) -> None:
    """Say whether a configuration file can be served, without serving it."""
    code, text = check_file(file, os.environ, day_of(SystemClock.wall_s()))
    typer.echo(text, nl=False, err=code != 0)
    raise typer.Exit(code)


@app.command()
def sim(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 9000,
    script: Annotated[Path | None, typer.Option(help="What it shall do (YAML or JSON; see docs/simulator.md).")] = None,
    bill: Annotated[Path | None, typer.Option(help="Where to write one JSON line for each call.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the script's seed.")] = None,
) -> None:
    """Simulate a provider: OpenAI and Anthropic, normal or failing as scripted."""
    try:
        import_module("gateway.sim.main").run(
            host, port, None if script is None else str(script), None if bill is None else str(bill), seed
        )
    except (ValueError, OSError) as error:
        typer.echo(f"meterway sim: {error}", err=True)
        raise typer.Exit(2) from None


def main() -> None:
    sys.exit(app())
