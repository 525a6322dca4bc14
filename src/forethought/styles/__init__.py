"""How reasoning and answer are written into a conversation and read back."""
