"""Hierarchy of multi-gate experts (HoME, Wang et al. 2024), for attribution views."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.layers.experts import Experts
from models.layers.gates import FeatureGate, Gate, SelfGate, mix
from models.view_model import PeerModel

SHARED = "all"
GROUPS = {
    "one_touch": ("last_click", "first_click"),
    "many_touches": ("linear", "time_decay", "position_based", "mta"),
}
"""Views that label alike: those that credit one touch of a path, and those that share it out. Ours; the
paper's groups are its own actions."""


class Level(tf_keras.layers.Layer):
    """Experts with a feature gate before each, mixed for several receivers.

    Args:
      counts: experts by owner.
      receivers: owner -> owners whose experts it may mix: the hierarchy mask.
    """

    def __init__(self, counts, receivers, settings, **kwargs):
        super().__init__(**kwargs)
        self.experts = tuple(f"{owner} {i + 1}" for owner, count in counts.items() for i in range(count))
        self.owners = tuple(owner for owner, count in counts.items() for _ in range(count))
        self._feature_gate = FeatureGate(len(self.owners), settings.feature_gate_rank, name="feature_gate")
        self._experts = Experts(len(self.owners), settings.expert_units, normalized=True, name="experts")
        self._receivers = receivers
        self._gates = {to: Gate(len(self._of(mixed)), name=f"gate_{to}") for to, mixed in receivers.items()}
        self._self_gates = {to: SelfGate(name=f"self_gate_{to}") for to in receivers}

    def _of(self, owners) -> list[int]:
        return [i for i, owner in enumerate(self.owners) if owner in owners]

    def call(self, inputs, of_gate, of_self, training):
        """Mixtures by receiver, [batch, m] each, and their gates.

        Args:
          inputs: [batch, n], or [batch, experts, n].
          of_gate, of_self: what each receiver's gate and self gate read, [batch, any].
        """
        experts = self._experts(self._feature_gate(inputs), training=training)
        mixed, found = {}, {}
        for to, owners in self._receivers.items():
            reach = self._of(owners)
            weights = self._gates[to](of_gate[to])
            own = self._self_gates[to]((of_self[to], tf.gather(experts, self._of((to,)), axis=1)))
            mixed[to] = mix(weights, tf.gather(experts, reach, axis=1)) + own
            found[to] = (tuple(self.experts[i] for i in reach), weights)
        return mixed, found


class HoME(PeerModel):
    """All four parts of the paper: normalised Swish experts, hierarchy mask, feature gates, self gates.

        meta level   z_g   = mix(experts of group g, shared experts)(v) + self gate(own experts)
                     z_all = mix(all of them)(v) + self gate(shared experts)
        task level   z_k   = mix(E_all(z_all), E_g(z_g), E_k(z_g)) + self gate(E_k); gates read z_g and z_all

    A view's experts are never mixed for another view, nor a group's for the other group.
    """

    def __init__(self, settings, space):
        super().__init__(settings, space)
        shared, own = settings.shared_experts, settings.task_experts
        self._group = {view: group for group, views in GROUPS.items() for view in views if view in self.tasks}
        groups = tuple(group for group in GROUPS if group in self._group.values())
        self._meta = Level(
            {**dict.fromkeys(groups, own), SHARED: shared},
            {**{group: (group, SHARED) for group in groups}, SHARED: (*groups, SHARED)},
            settings,
            name="meta",
        )
        self._task = Level(
            {**dict.fromkeys(self.tasks, own), **dict.fromkeys(groups, shared), SHARED: shared},
            {view: (view, self._group[view], SHARED) for view in self.tasks},
            settings,
            name="task",
        )

    def represent(self, shared, training):
        everyone = dict.fromkeys((*self._group.values(), SHARED), shared)
        meta, meta_gates = self._meta(shared, everyone, everyone, training)
        of_owner = {**meta, **{view: meta[group] for view, group in self._group.items()}}
        inputs = tf.stack([of_owner[owner] for owner in self._task.owners], axis=1)
        of_gate = {view: tf.concat([of_owner[view], meta[SHARED]], axis=1) for view in self.tasks}
        task, task_gates = self._task(inputs, of_gate, of_owner, training)
        found = {f"meta level, {name}": gate for name, gate in meta_gates.items()}
        return task, found | {f"task level, {name}": gate for name, gate in task_gates.items()}


MODEL = HoME
