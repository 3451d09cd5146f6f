"""The engines that can judge. All of them pass tests/contracts."""
