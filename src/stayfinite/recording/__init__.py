"""What a run leaves on disk: a folder that any later process, on any machine, can read and render."""
