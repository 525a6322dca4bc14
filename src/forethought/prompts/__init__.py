"""Prompt builders and the call flow that runs a style over any chat model."""
