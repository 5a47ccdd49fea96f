"""What a stream has on disk: the directory and its lock, the journal, and the one place where files are registered."""
