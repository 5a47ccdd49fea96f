"""Which files an entry has and what each is for: the walk, the choice, and the survey that asks for both."""
