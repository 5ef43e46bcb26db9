"""`python -m serving NAME BASE`: the emulator in a process of its own, for whoever started it.

Prints one JSON line with its addresses once it serves, and ends when its standard input does: it never
outlives the process that holds the other end.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

from serving.limits import ServingLimits


def main() -> None:
    """Serves until standard input ends."""
    name, base, limits = sys.argv[1], Path(sys.argv[2]), ServingLimits.model_validate_json(sys.argv[3])
    # Only the line below may go to standard output, whatever libraries print.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    from serving.emulator import Emulator
    from serving.models import single

    with Emulator(single(name, base), limits) as server:
        # What TensorFlow brought is here to stay: collections of garbage need not walk it.
        gc.collect()
        gc.freeze()
        states = server.models.model(name).states()
        errors = {number: error.message for number, (_, error) in states.items() if error}
        line = {"address": server.address, "rest_address": server.rest_address, "errors": errors}
        print(json.dumps(line), file=out, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
