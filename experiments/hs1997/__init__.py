"""The network of Hochreiter & Schmidhuber (1997), for the configs that repeat their experiments."""

from experiments.hs1997.memory_blocks import MemoryBlocks, MemoryBlocksParams, MemoryBlocksState

__all__ = ["MemoryBlocks", "MemoryBlocksParams", "MemoryBlocksState"]
