"""RNNs of RNNs: areas that contract, couplings that keep it so, and the certificate that says it."""

from dynrnn.models.assemblies.assembly import Assembly
from dynrnn.models.assemblies.certificate import Certificate, certify

__all__ = ["Assembly", "Certificate", "certify"]
