"""Who made a value that was bad before the failing step: lines of the user's code watched while they run once more."""
