"""Pictures into a cache: a folder, an archive or a named set becomes memory-mapped uint8."""
