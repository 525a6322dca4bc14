"""One file a method; tokenising and masking in data.py."""
