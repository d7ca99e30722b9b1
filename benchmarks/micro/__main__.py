"""`make micro`: every microbenchmark."""

from benchmarks.micro import journal, outbox, path, stations, telemetry, upstream, values

for module in (stations, journal, path, values, telemetry, upstream, outbox):
    print(f"\n{module.__name__.rpartition('.')[2]}: {(module.__doc__ or '').splitlines()[0]}")
    module.main()
