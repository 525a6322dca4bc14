"""Complete tasks: instructions, generator, solver, verifiers."""
