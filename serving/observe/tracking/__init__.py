"""How each version does, window by window: kept for other rooms, and sent where people look."""
