"""Statistics of what is served: sampled, in windows that roll up, checked as they close."""
