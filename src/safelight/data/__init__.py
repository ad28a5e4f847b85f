"""Pictures into a cache: a folder, a zip or a named set becomes one array of uint8 on the disk.

Nothing is imported here: the decoding processes import this package and must start fast.
"""
