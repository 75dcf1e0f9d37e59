//! Secrets: sealing what is stored, and the pepper of API keys.
