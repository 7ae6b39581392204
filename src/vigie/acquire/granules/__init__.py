"""Read granules, tables and fields of precipitation science into the layouts of `vigie.core.swath`, by what files hold."""
