//! Ports that live in memory, for tests of jobs and of the engine.
