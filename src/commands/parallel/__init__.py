"""Work of commands that several processes share."""
