"""A scripted provider simulator for demos, tests and benchmarks.

    script = parse_script({"rules": [{"when": {"requests": "1..2"}, "fault": {"kind": "status", "status": 429}}]})
    async with Simulator(script) as sim:  # sim.base is "http://127.0.0.1:PORT", without /v1
        await sim.arrived(1)              # a request has been read (sim.requests has it)
        sim.open("gate-name")             # let a `pace` gate of the script through
        await sim.idle()                  # no call in progress: sim.bill is complete
        sim.script = parse_script({})     # at any time; its counters, clock and limits start anew

`script.py` and `fault.py` hold every key of a script with its meaning, `choice.STEERS` what a model name `sim-…` can
ask for without one. `server.py` is the `Simulator`, `door.py` the control door `/_sim/…`, `main.py` what the CLI calls.
"""
