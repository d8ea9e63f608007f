"""Base model, LoRA policy, and the reference (the same weights, adapter off)."""
