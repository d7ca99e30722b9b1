"""`make micro`: every microbenchmark."""

from benchmarks.micro import path, stations, telemetry, upstream, values

for module in (stations, path, values, telemetry, upstream):
    print(f"\n{module.__name__.rpartition('.')[2]}: {(module.__doc__ or '').splitlines()[0]}")
    module.main()
