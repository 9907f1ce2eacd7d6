"""Retrieval: corrupted patterns back to the stored ones, energies to call, capacity.

    patterns    what is stored, in memory or in files
    landscape   energies of states, and their closed-form updates
    gathering   one pass over all memories, in blocks
    flips       energy differences of single neurons
    dynamics    the loop, and the ways to take a step
    covers      corrupted patterns
    memory      ``AssociativeMemory``; storing: its defaults; states: its entrance
    result      what a retrieval returns; editing: changes, and who depends on a memory
    layer       ``MemoryAttention``, retrieval as a layer of a network
    capacity    how many patterns fit

docs/memory.md shows their use.
"""

from denseam.retrieval.covers import COVERS, Covered, cover
from denseam.retrieval.dynamics import DYNAMICS, Dynamics, WhyStopped
from denseam.retrieval.editing import Change
from denseam.retrieval.landscape import Domain, EnergyParts
from denseam.retrieval.layer import MemoryAttention
from denseam.retrieval.memory import AssociativeMemory
from denseam.retrieval.result import Retrieval

__all__ = [
    "COVERS",
    "DYNAMICS",
    "AssociativeMemory",
    "Change",
    "Covered",
    "Domain",
    "Dynamics",
    "EnergyParts",
    "MemoryAttention",
    "Retrieval",
    "WhyStopped",
    "cover",
]
