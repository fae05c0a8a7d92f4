"""A world in virtual time: real actors, an exact carrier, scripted callers and agents, and a referee."""
