"""`make micro`: every microbenchmark."""

from benchmarks.micro import journal, path, stations, telemetry, upstream, values

for module in (stations, journal, path, values, telemetry, upstream):
    print(f"\n{module.__name__.rpartition('.')[2]}: {(module.__doc__ or '').splitlines()[0]}")
    module.main()
