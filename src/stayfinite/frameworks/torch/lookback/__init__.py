"""From the bad step back: which item of the data set the bad rows are, and which line made them."""
