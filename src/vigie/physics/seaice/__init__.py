"""A differentiable sea-ice model: drift, deformation, transport, growth and melt on a C-grid, for many members at once."""
