//! Who may do what: policy documents as values, their evaluation, and the explanation of each decision.
