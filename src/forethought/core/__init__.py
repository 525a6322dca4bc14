"""Records, seams and pure functions. Imports pydantic and the standard library, nothing else at import time."""
