"""Fields of an architecture that blocks of several experts have; without torch, which pages do without."""

from __future__ import annotations

EXPERT_FIELDS = ("num_experts", "num_experts_per_tok")
