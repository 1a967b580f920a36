"""What is protected: registry, presets, probes."""
