"""What sources beyond this machine have in common: they are asked, and their files kept."""
