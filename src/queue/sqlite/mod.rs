//! The embedded queue: one SQLite file, shared by the processes of one host.
