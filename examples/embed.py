"""Collect from a program of your own: embed.py REQUEST DIRECTORY."""

import sys
from pathlib import Path

import fsmcollect
from fsmcollect.events import Event, Moved
from fsmcollect.images import noise_chunks
from fsmcollect.sim.beamline import SimulatedBeamline


def tell(event: Event) -> None:
    """Events say what happened and when; a listener never holds a device, and returns at once."""
    if isinstance(event, Moved) and event.machine == "collection":
        print(f"{event.t_us / 1e6:8.3f} s  {event.dest}")


async def collect(beamline: fsmcollect.Beamline, request: fsmcollect.Request, directory: Path) -> fsmcollect.Result:
    """Collect one sample; InvalidRequest, if it cannot be done, is raised before anything moves."""
    collection = fsmcollect.Collection(beamline=beamline, request=request, directory=directory)
    collection.observers.listeners.append(tell)
    # Any time while it runs, from another task: collection.abort(), .hold(), .resume(), .skip()
    return await collection.run()


request = fsmcollect.parse_toml(Path(sys.argv[1]).read_text(encoding="utf-8"), where=sys.argv[1])
simulated = SimulatedBeamline()
(noise,) = noise_chunks(seed=1, info=simulated.detector.info, count=1)
simulated.detector.frame_source = lambda index: noise  # every image that it takes
# With devices of your own: beamline = fsmcollect.Beamline(config=..., goniometer=..., detector=..., fast_shutter=...)
# and trio.run(collect, beamline, request, directory).
result = simulated.kernel.run(lambda: collect(simulated.beamline, request, Path(sys.argv[2])))
print(result.outcome, f"{result.images} images", *result.files, *result.failures, sep="\n")
