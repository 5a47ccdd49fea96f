"""Where what runs and what is simulated meet; below this floor, neither knows the other."""
