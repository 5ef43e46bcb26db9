"""A head per attribution view over one bottom (Caruana 1997; MAL 4.1.2).

With `views` the primary view alone it is the paper's Base: the same network, one task.
"""

from models.view_model import PeerModel


class SharedBottom(PeerModel):
    """Every view's head reads the bottom's output."""

    def represent(self, shared, training):
        return dict.fromkeys(self.tasks, shared), {}


MODEL = SharedBottom
