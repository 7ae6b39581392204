"""Glaciers: clean ice, debris-covered ice and lakes, mapped from spy film to today's satellites."""
