"""Hours of figures of every version that is asked, in bounded memory and without Prometheus."""
