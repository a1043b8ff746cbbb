//! Reading certificates that peers present: fingerprint, names, validity, proof of possession; no trust decisions.
