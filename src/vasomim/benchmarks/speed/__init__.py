"""What `vasomim benchmark speed` measures: each stage against a plain reference, and the limits of the machine."""
