"""Whether a trained map contracts: proofs that can be checked again, and the echo-state test, which is an indicator."""

from dynrnn.analysis.contraction.certificate import contraction_certificate
from dynrnn.analysis.contraction.checking import verify_certificate
from dynrnn.analysis.contraction.echo import echo_state_test

__all__ = ["contraction_certificate", "echo_state_test", "verify_certificate"]
