"""The file formats of recordings, one file each; all of them read and write the same :class:`Contents`."""
