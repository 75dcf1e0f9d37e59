//! Tests: processes.
