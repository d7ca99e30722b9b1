"""A scripted provider simulator for demos, tests and benchmarks.

    async with Simulator(parse_script({"rules": [{"fault": {"kind": "status", "status": 429}}]})) as sim:
        ...  # sim.base is "http://127.0.0.1:PORT"; sim.bill, sim.requests; sim.script may be assigned at any time

`script.py` has every key of a script with its meaning; `server.py` the `Simulator`; `main.py` what the CLI calls.
"""
