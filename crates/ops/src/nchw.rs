//! Drop-ins.
