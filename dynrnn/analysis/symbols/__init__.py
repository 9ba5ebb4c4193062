"""Symbolic codes: which regions an orbit visits, as words, graphs and entropies, and how codes differ."""

from dynrnn.analysis.symbols.admissible import admissible_graph, unobserved_edges
from dynrnn.analysis.symbols.coarse import coarse_grain
from dynrnn.analysis.symbols.code import code_of_partition, code_of_symbols, symbolic_code
from dynrnn.analysis.symbols.compare import compare_codes, compare_groups
from dynrnn.analysis.symbols.dwell import dwell_times
from dynrnn.analysis.symbols.entropy import code_entropies
from dynrnn.analysis.symbols.graph import transition_graph
from dynrnn.analysis.symbols.graphml import read_graphml, write_graphml
from dynrnn.analysis.symbols.order import markov_order
from dynrnn.analysis.symbols.words import forbidden_words, word_counts

__all__ = [
    "admissible_graph",
    "coarse_grain",
    "code_entropies",
    "code_of_partition",
    "code_of_symbols",
    "compare_codes",
    "compare_groups",
    "dwell_times",
    "forbidden_words",
    "markov_order",
    "read_graphml",
    "symbolic_code",
    "transition_graph",
    "unobserved_edges",
    "word_counts",
    "write_graphml",
]
