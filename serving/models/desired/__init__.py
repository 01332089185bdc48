"""What should be: what the directories hold, what commands decided over that, and what follows."""
