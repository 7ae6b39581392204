"""Find scenes, whatever sensor and file family they come from, and write them down as one catalogue."""
