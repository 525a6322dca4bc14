"""Styles: how reasoning and an answer are written into a conversation and read back.

``parsing`` is the one reader behind ``parse`` and ``stream``; ``writing`` the one writer of inputs, system messages
and checks. A style is a class of its own file and one row in ``core.registry``.
"""
