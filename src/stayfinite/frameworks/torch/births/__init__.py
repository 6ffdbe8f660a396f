"""Who made state that was bad before a step computed anything: a file, a constructor, the formula of a rate."""
