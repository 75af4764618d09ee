"""What of libvirt's binding is asked by code that is tested without libvirt: its errors and their numbers."""

from __future__ import annotations

from types import SimpleNamespace


class LibvirtError(Exception):
    """An error with libvirt's number for it."""

    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code

    def get_error_code(self):
        return self.code


# virterror.h and libvirt-domain.h
LIBVIRT = SimpleNamespace(
    libvirtError=LibvirtError,
    VIR_ERR_INTERNAL_ERROR=1,
    VIR_ERR_OPERATION_INVALID=55,
    VIR_ERR_AGENT_UNRESPONSIVE=86,
    VIR_ERR_NO_DOMAIN_BACKUP=103,
    VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK=-2,
    VIR_DOMAIN_JOB_NONE=0,
)
