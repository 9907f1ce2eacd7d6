"""The study of memories: ten figures of the literature on retrieval, measured again.

plan      sizes
capacity  scaling, transition, exponential capacity, basins: also `denseam capacity`
recall    XOR, prototypes, metastable states, exact retrieval, covered digits, editing
claims    what the papers say, and the rules that judge it
summary   one picture of all capacities
"""

from denseam.study.memory.capacity import capacity_stages
from denseam.study.memory.claims import CLAIMS
from denseam.study.memory.plan import MemoryPlan
from denseam.study.memory.recall import recall_stages
from denseam.study.memory.summary import save_summary

__all__ = ["CLAIMS", "MemoryPlan", "capacity_stages", "recall_stages", "save_summary"]
