"""SD-WebUI: AUTOMATIC1111, Forge and their relatives."""
