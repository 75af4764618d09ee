"""How an inference service is asked whether it lives and is ready."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, integer


@dataclass(frozen=True)
class Probes:
    """Times of the questions to a server's health routes (Open Inference Protocol v2).

    Attributes:
        startup: seconds that it may take from its start until it lives; one that takes longer is started anew.
        period: seconds between two questions.
        timeout: seconds that an answer may take.
    """

    startup: int = 300
    period: int = 5
    timeout: int = 5

    @property
    def startup_failures(self) -> int:
        """How many questions go unanswered before the deadline has passed."""
        return -(-self.startup // self.period)

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Probes:
        """Read the ``probes`` mapping.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("startup", "period", "timeout"))
        startup = fields.read("startup", integer(1, 86_400), default=cls.startup)
        period = fields.read("period", integer(1, 3600), default=cls.period)
        timeout = fields.read("timeout", integer(1, 600), default=cls.timeout)
        if not fields.problems.found and startup < period:
            fields.problems.add(
                fields.at("startup"),
                "is over before the first question is repeated",
                found=f"{startup} s, and a period of {period} s",
                expected="at least one period",
            )
        fields.raise_if_any()
        return cls(startup, period, timeout)
