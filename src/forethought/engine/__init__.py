"""Local models: the embedded one, safe loading, and batched generation."""
