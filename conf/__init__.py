"""Settings: one TOML file read once into typed, frozen values. Imports nothing of ours."""
