"""How attractors change with a parameter or an input: branches with their bifurcations, and orbit diagrams."""

from dynrnn.analysis.branches.diagram import orbit_diagram
from dynrnn.analysis.branches.follow import continuation

__all__ = ["continuation", "orbit_diagram"]
