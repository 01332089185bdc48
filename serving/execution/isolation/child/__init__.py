"""The child's side: what a process of ours does to itself, and what it answers."""
