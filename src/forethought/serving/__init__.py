"""Serving: an OpenAI-compatible server over registered models.

``server`` listens, ``app`` has the routes, ``protocol`` reads requests, ``replies`` writes answers, ``generation`` runs
models in threads, ``hub`` finds and keeps models, ``guard`` keeps strangers out, ``failures`` speaks OpenAI's errors.
"""
