"""A run's figures as a page: ratios first."""

from benchmarks.load import Result

Table = dict[str, dict[str, Result]]


def report(where: dict[str, str], found: Table, own: dict[str, float], *, rounds: int, seconds: int) -> str:
    lines = ["# Benchmark", "", *(f"- {name}: {value}" for name, value in where.items())]
    lines.append(
        "- how: wrk and the upstream (nginx, static) on core 1, each contender alone on core 0; "
        f"middle of {rounds} rounds of {seconds} s, the contenders in turn, ratios within a round; "
        "limits, metrics, prices and access log on, with accounts also budgets, journal and ledger"
    )
    lines += _table("Throughput as a ratio to nginx's plain proxy in the same run", found, _ratio)
    lines += _table("Requests/s", found, lambda row, who: f"{row[who].per_s:,.0f}")
    lines += _table("p50 / p99 ms", found, lambda row, who: f"{row[who].p50_ms:.2f} / {row[who].p99_ms:.2f}")
    lines += _table("Answers that were not 2xx, and broken sockets", found, lambda row, who: str(row[who].errors))
    lines += ["", "## Promises", "", "| what | asked | measured |", "|---|---|---|", *_promises(found, own)]
    return "\n".join(lines) + "\n"


def _ratio(row: dict[str, Result], who: str) -> str:
    return f"{row[who].share_of(row['nginx']):.3f}"


def _table(title: str, found: Table, cell: object) -> list[str]:
    names = list(next(iter(found.values())))
    lines = ["", f"## {title}", "", "| scenario | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for scenario, row in found.items():
        cells = [cell(row, who) if callable(cell) and row[who].per_s else "-" for who in names]
        lines.append(f"| {scenario} | " + " | ".join(cells) + " |")
    return lines


def _promises(found: Table, own: dict[str, float]) -> list[str]:
    chat, single = found["chat 1 kB reply, c=32"], found["chat 1 kB reply, c=1"]
    stream = found["stream of 31 events, c=32"]
    rows = []
    for name in (name for name in chat if name.startswith("meterway")):
        ours = chat[name]
        rows.append((f"chat 1 kB, c=32, {name} against nginx", ">= 0.20", f"{ours.share_of(chat['nginx']):.3f}"))
        if "portkey" in chat:
            rows.append((f"the same, {name} against Portkey", ">= 8", f"{ours.share_of(chat['portkey']):.1f}"))
        if "litellm" in stream:
            ratio = stream[name].share_of(stream["litellm"])
            rows.append((f"stream of 31 events, c=32, {name} against LiteLLM", ">= 10", f"{ratio:.1f}"))
    share = stream["meterway"].bytes_per_s / chat["meterway"].bytes_per_s
    added_ms = single["meterway"].p50_ms - single["upstream"].p50_ms
    rows += [
        ("stream bytes/s against our own non-stream bytes/s", ">= 0.5", f"{share:.2f}"),
        ("added latency at c=1, p50", "<= 0.5 ms", f"{added_ms:.3f} ms"),
        ("start to first answer", "<= 1 s", f"{own['start_to_first_answer_s']:.2f} s"),
        ("idle RSS", "<= 90 MB", f"{own['idle_rss_mb']:.1f} MB"),
        ("import gateway.app", "<= 400 ms", f"{own['import_gateway_app_ms']:.0f} ms"),
    ]
    return [f"| {what} | {asked} | {measured} |" for what, asked, measured in rows]
