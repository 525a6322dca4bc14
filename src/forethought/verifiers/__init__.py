"""What decides whether an answer, or one step, is right."""
