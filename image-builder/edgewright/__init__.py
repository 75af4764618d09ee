"""Edgewright's image builder: from an Ansible inventory to an offline disk image."""

__version__ = "0.1.0"
