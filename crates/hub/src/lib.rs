//! Carries out what is asked: authorizes, transacts, announces, answers; one file per use case.
