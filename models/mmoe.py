"""Multi-gate mixture of experts (Ma et al. 2018, KDD)."""

from __future__ import annotations

from models.layers.experts import Experts
from models.layers.gates import Gate, mix
from models.view_model import PeerModel


class MMoE(PeerModel):
    """f^k = sum_i softmax(W_k x)_i f_i(x): all experts for all views, one linear gate per view (eq. 6, 7)."""

    def __init__(self, settings, space):
        super().__init__(settings, space)
        self._experts = Experts(settings.experts, settings.expert_units, name="experts")
        self._gates = {view: Gate(settings.experts, name=f"gate_{view}") for view in self.tasks}

    def represent(self, shared, training):
        experts = self._experts(shared, training=training)
        labels = tuple(f"expert {i + 1}" for i in range(self.settings.experts))
        gates = {view: (labels, gate(shared)) for view, gate in self._gates.items()}
        return {view: mix(weights, experts) for view, (_, weights) in gates.items()}, gates


MODEL = MMoE
