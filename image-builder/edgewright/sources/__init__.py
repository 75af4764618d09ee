"""Where artifacts come from, one kind of source a file."""
