"""Progressive layered extraction, two levels (Tang et al. 2020, RecSys)."""

from __future__ import annotations

import tensorflow as tf

from models.layers.experts import Experts
from models.layers.gates import Gate, mix
from models.view_model import PeerModel

SHARED = "shared"


class PLE(PeerModel):
    """Each level has experts of every view and shared ones; a view's gate mixes its own and the shared.

    x^k_0 = x^s_0 = x
    level l: x^k_l = sum softmax(W^k x^k_{l-1}) [own experts of k, shared experts](x^k_{l-1}, x^s_{l-1})
             x^s_l = the same over ALL experts; there is none at the last level        (eq. 4-7)
    """

    def __init__(self, settings, space):
        super().__init__(settings, space)
        self._counts = {view: settings.task_experts for view in self.tasks} | {
            SHARED: settings.shared_experts
        }
        self._names = tuple(f"{of} {i + 1}" for of, count in self._counts.items() for i in range(count))
        self._levels = [
            {
                "experts": Experts(len(self._names), settings.expert_units, name=f"experts_{level}"),
                "gates": {
                    to: Gate(len(self._reach(to)), name=f"gate_{level}_{to}")
                    for to in ((*self.tasks, SHARED) if level == 1 else self.tasks)
                },
            }
            for level in (1, 2)
        ]

    def _reach(self, to: str) -> list[int]:
        """Experts that a gate mixes, as places in `_names`."""
        mine = (*self._counts,) if to == SHARED else (to, SHARED)
        return [i for i, name in enumerate(self._names) if name.rsplit(" ", 1)[0] in mine]

    def represent(self, shared, training):
        x, inputs, found = dict.fromkeys(self._counts, shared), shared, {}
        for number, level in enumerate(self._levels, start=1):
            experts = level["experts"](inputs, training=training)
            weights = {to: gate(x[to]) for to, gate in level["gates"].items()}
            x = {to: mix(w, tf.gather(experts, self._reach(to), axis=1)) for to, w in weights.items()}
            for to, w in weights.items():
                found[f"level {number}, {to}"] = (tuple(self._names[i] for i in self._reach(to)), w)
            if SHARED in x:
                inputs = tf.stack([x[of] for of, count in self._counts.items() for _ in range(count)], axis=1)
        return x, found


MODEL = PLE
