"""Prompts: what a model is told besides the input. ``builders`` make them; a saved prompt is a stored ``Prompt``."""
