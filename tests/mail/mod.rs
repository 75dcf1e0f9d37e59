//! Tests: mail.
