"""The microscope: one step of the user's, run again with every operator seen."""
